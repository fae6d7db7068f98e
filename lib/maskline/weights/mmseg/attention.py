"""The keys that MMSegmentation's attention heads, and a few others, have of their own.

See ``maskline.weights.mmseg.head``.
"""

from typing import Any

from maskline.weights.mmseg.section import Section

# Our key: theirs, and their default.
ATTENTION: dict[str, dict[str, tuple[str, Any]]] = {
    "non_local": {"reduction": ("reduction", 2), "scaled": ("use_scale", True)},
    "dnl": {
        "reduction": ("reduction", 2),
        "scaled": ("use_scale", True),
        "temperature": ("temperature", 0.05),
    },
    "gc": {
        "ratio": ("ratio", 0.25),
        "pooling": ("pooling_type", "att"),
        "fusion_types": ("fusion_types", ("channel_add",)),
    },
    "cc": {"recurrence": ("recurrence", 2)},
    "da": {"pam_channels": ("pam_channels", 64)},
    "isa": {"isa_channels": ("isa_channels", 256), "down_factor": ("down_factor", (8, 8))},
    "ann": {"project_channels": ("project_channels", 256), "bins": ("key_pool_scales", (1, 3, 6, 8))},
    "psa": {
        "mask_size": ("mask_size", (97, 97)),
        "kind": ("psa_type", "bi-direction"),
        "shrink_factor": ("shrink_factor", 2),
        "normalization_factor": ("normalization_factor", 1.0),
        "with_softmax": ("psa_softmax", True),
    },
    "enc": {"num_codes": ("num_codes", 32), "add_lateral": ("add_lateral", False)},
    "apc": {"bins": ("pool_scales", (1, 2, 3, 6)), "fusion": ("fusion", True)},
    "dm": {"filter_sizes": ("filter_sizes", (1, 3, 5, 7)), "fusion": ("fusion", False)},
    "ema": {
        "ema_channels": ("ema_channels", 512),
        "num_bases": ("num_bases", 64),
        "num_stages": ("num_stages", 3),
        "momentum": ("momentum", 0.1),
        "concat_input": ("concat_input", True),
    },
    "separable_fcn": {"num_convs": ("num_convs", 2), "concat_input": ("concat_input", True)},
    "stdc": {
        "num_convs": ("num_convs", 2),
        "concat_input": ("concat_input", True),
        "kernel_size": ("kernel_size", 3),
        "dilation": ("dilation", 1),
        "boundary_threshold": ("boundary_threshold", 0.1),
    },
    "lraspp": {"branch_channels": ("branch_channels", (32, 64))},
    "ddr": {},
    "pid": {},
}
_FIXED: dict[str, dict[str, tuple[Any, ...]]] = {
    "non_local": {"mode": ("embedded_gaussian",)},
    "dnl": {"mode": ("embedded_gaussian",)},
    "ann": {"query_scales": ((1,), [1])},
    "psa": {"compact": (False,)},
    "separable_fcn": {"kernel_size": (3,), "dilation": (1,), "dw_act_cfg": (None,)},
}
_BETWEEN_CONVS = ("non_local", "dnl", "gc", "cc")


def attention_params(section: Section, name: str) -> dict[str, Any]:
    """Return the keys of a head that ``ATTENTION`` has.

    Raises:
        ShapeError: A value without a counterpart.
    """
    for key, allowed in _FIXED.get(name, {}).items():
        section.expect(key, *allowed)
    params = {ours: _plain(section.take(theirs, usual)) for ours, (theirs, usual) in ATTENTION[name].items()}
    if name in _BETWEEN_CONVS:
        params["concat_input"] = section.take("concat_input", True)
        section.expect("kernel_size", 3)
        section.expect("dilation", 1)
    if name == "enc":
        params["presence_weight"] = _presence_weight(section)
    return params


def _presence_weight(section: Section) -> float:
    usual = {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 0.2}
    with_presence, loss = section.take("use_se_loss", True), section.take("loss_se_decode", usual)
    if not with_presence:
        return 0.0
    weight = float(loss.get("loss_weight", 1.0))
    section.check("loss_se_decode", {**loss, "loss_weight": 0.2}, usual)
    return weight


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
