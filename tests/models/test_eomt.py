"""EoMT: against transformers, by its numbers and itself; masks that are used less and less."""

import zlib

import numpy as np
import pytest
import torch

from maskline.losses.mask_classification import MaskClassification, MaskPoints
from maskline.models.backbones.timm_maps import TimmMaps
from maskline.models.heads.eomt import EoMTHead
from maskline.models.segmentor import Segmentor
from maskline.runtime.libraries import declare_missing_operators
from maskline.weights.eomt import from_transformers, is_eomt

WIDTH, DEPTH, BLOCKS, QUERIES, CLASSES, SIDE = 16, 3, 2, 4, 3, 64
# Of transformers 5.24.0 with the weights and images below: mean, largest magnitude and three values of the last masks
# and classes, by the share of queries that keep to their masks.
GOLDEN = {
    1: [0.381044, 10.776515, -0.172374, 1.093041, 1.3735, 2.028822, 0.131935, -0.265031, -0.503091, -0.102718],
    0: [0.316789, 8.638263, 0.068206, 0.9389, 1.151343, 1.565955, 0.223459, 0.035532, -0.171465, 0.366136],
}


def shapes():
    """Names and shapes of transformers' EomtForUniversalSegmentation."""
    pair = {"weight": (WIDTH,), "bias": (WIDTH,)}
    square = {"weight": (WIDTH, WIDTH), "bias": (WIDTH,)}
    parts = {
        "embeddings.patch_embeddings.projection": {"weight": (WIDTH, 3, 16, 16), "bias": (WIDTH,)},
        "embeddings.position_embeddings": {"weight": (16, WIDTH)},
        "layernorm": pair,
        "query": {"weight": (QUERIES, WIDTH)},
        "class_predictor": {"weight": (CLASSES + 1, WIDTH), "bias": (CLASSES + 1,)},
        **{f"mask_head.fc{i}": square for i in (1, 2, 3)},
    }
    for i in range(2):
        block = f"upscale_block.block.{i}"
        parts[f"{block}.conv1"] = {"weight": (WIDTH, WIDTH, 2, 2), "bias": (WIDTH,)}
        parts |= {f"{block}.conv2": {"weight": (WIDTH, 1, 3, 3)}, f"{block}.layernorm2d": pair}
    for i in range(DEPTH):
        layer = f"layers.{i}"
        parts |= {f"{layer}.attention.{kind}_proj": square for kind in ("q", "k", "v", "out")}
        parts |= {f"{layer}.norm{j}": pair for j in (1, 2)}
        parts |= {f"{layer}.layer_scale{j}": {"lambda1": (WIDTH,)} for j in (1, 2)}
        parts[f"{layer}.mlp.fc1"] = {"weight": (4 * WIDTH, WIDTH), "bias": (4 * WIDTH,)}
        parts[f"{layer}.mlp.fc2"] = {"weight": (WIDTH, 4 * WIDTH), "bias": (WIDTH,)}
    named = {f"{place}.{leaf}": shape for place, leaves in parts.items() for leaf, shape in leaves.items()}
    return named | {"embeddings.cls_token": (1, 1, WIDTH), "embeddings.register_tokens": (1, 4, WIDTH)}


def filled(name, shape):
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if len(shape) > 1:
        return torch.from_numpy(values * 0.3).float()
    return torch.from_numpy(values * 0.1 if name.endswith("bias") else 1 + values * 0.3).float()


def weights(share):
    return {
        "attn_mask_probs": torch.full((BLOCKS,), float(share)),
        **{name: filled(name, shape) for name, shape in shapes().items()},
    }


def images():
    return filled("images", (1, 3, SIDE, SIDE)) / 0.3


def own(**options):
    declare_missing_operators()
    import timm

    torch.manual_seed(0)
    model = timm.create_model(
        "vit_small_patch14_reg4_dinov2",
        embed_dim=WIDTH,
        depth=DEPTH,
        num_heads=2,
        img_size=SIDE,
        patch_size=16,
        dynamic_img_size=True,
    )
    backbone = TimmMaps(model, out_indices=None, final_norm=True)
    head = EoMTHead(
        tail=backbone.cut(BLOCKS),
        patch_size=16,
        num_queries=QUERIES,
        in_channels=backbone.channels,
        in_index=[0, 1],
        channels=1,
        num_classes=CLASSES,
        dropout=0.0,
        align_corners=False,
        **options,
    )
    return Segmentor(
        backbone=backbone,
        decode_heads=[head],
        auxiliary_heads=[],
        neck=None,
        num_classes=CLASSES,
        align_corners=False,
    )


def with_weights(share):
    model = own().eval()
    model.load_state_dict(from_transformers(weights(share)))
    return model


def numbers(masks, classes):
    return [f(x) for x in (masks, classes) for f in (torch.mean, lambda y: y.abs().max())] + [
        x.flatten()[i] for x in (masks, classes) for i in (0, x.numel() // 3, -1)
    ]


def predicted(model):
    with torch.no_grad():
        classes, masks = model.decode_head.predict(model.backbone(images()))
    return masks, classes


@pytest.mark.parametrize("share", [1, 0])
def test_numbers_of_transformers(share):
    masks, classes = predicted(with_weights(share))
    assert len(masks) == (BLOCKS + 1 if share else 1)
    found = [float(x) for x in numbers(masks[-1], classes[-1])]
    np.testing.assert_allclose(found, GOLDEN[share], rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("share", [1, 0])
def test_transformers_itself(share):
    declare_missing_operators()
    transformers = pytest.importorskip("transformers", reason="pip install -e '.[agreement]'")
    config = transformers.EomtConfig(
        hidden_size=WIDTH,
        num_hidden_layers=DEPTH,
        num_attention_heads=2,
        image_size=SIDE,
        num_blocks=BLOCKS,
        num_queries=QUERIES,
        num_labels=CLASSES,
    )
    theirs = transformers.EomtForUniversalSegmentation(config).eval()
    assert set(theirs.load_state_dict(weights(share), strict=False).missing_keys) == {"criterion.empty_weight"}
    with torch.no_grad():
        output = theirs(images())
    model = with_weights(share)
    masks, classes = predicted(model)
    torch.testing.assert_close(masks[-1], output.masks_queries_logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(classes[-1], output.class_queries_logits, rtol=1e-5, atol=1e-5)
    large = torch.nn.functional.interpolate(output.masks_queries_logits, (SIDE, SIDE), mode="bilinear").sigmoid()
    shares = output.class_queries_logits.softmax(2)[..., :-1]
    torch.testing.assert_close(model(images()), torch.einsum("nqk,nqhw->nkhw", shares, large))


def test_names_of_transformers_alone_are_eomts():
    assert is_eomt(weights(0))
    assert not is_eomt({"query.weight": torch.zeros(1)})


def test_masks_are_used_less_and_less_and_not_at_the_end():
    model = own()
    head = model.decode_head
    head.begin(batches=8)  # with two blocks, from 1/4 to 2/4 of the run and from 2/4 to 3/4
    features = model.backbone(images())
    shares = []
    for _ in range(8):
        head.predict(features)
        shares.append([round(share, 4) for share in head.mask_share.tolist()])
    half = round(0.5**0.9, 4)
    assert shares == [[1, 1], [1, 1], [1, 1], [half, 1], [0, 1], [0, half], [0, 0], [0, 0]]
    assert len(head.eval().predict(features)[1]) == 1
    head.begin(batches=8)
    assert head.mask_share.tolist() == [1, 1]
    assert int(head.seen) == 0


def test_masks_stay_where_they_are_to():
    model = own(mask_annealing=False)
    model.decode_head.begin(batches=1)
    for _ in range(3):
        model.decode_head.predict(model.backbone(images()))
    assert len(model.eval().decode_head.predict(model.backbone(images()))[1]) == BLOCKS + 1


def test_a_query_without_a_mask_sees_all_patches():
    head = own().decode_head
    masks = torch.full((1, QUERIES, 16, 16), -1.0)
    masks[0, 0, :4] = 1.0
    for share, kept in ((1.0, True), (0.0, False)):
        allowed = head._allowed(masks, (4, 4), QUERIES + 5 + 16, torch.tensor(share))[0, 0]
        assert allowed[QUERIES:].all()
        assert allowed[:, : QUERIES + 5].all()
        seen = allowed[:QUERIES, QUERIES + 5 :].sum(dim=1).tolist()
        assert seen == ([4, 0, 0, 0] if kept else [16] * 4)


def test_the_same_seed_gives_the_same_bits_and_a_state_goes_on():
    outcomes = []
    for stop in (None, 2):
        model = own().train()
        model.decode_head.begin(batches=6)
        for step in range(5):
            if step == stop:
                state, model = model.state_dict(), own().train()
                model.decode_head.begin(batches=6)
                model.load_state_dict(state)
            torch.manual_seed(step)
            classes, _ = model.decode_head.predict(model.backbone(images()))
        outcomes.append(classes[-1])
    torch.testing.assert_close(*outcomes, atol=0, rtol=0)


def test_it_learns():
    model = own().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    points = MaskPoints(count=200, oversample=3.0, uncertain_share=0.75)
    weights = {"class_loss_weight": 2.0, "mask_loss_weight": 5.0, "dice_loss_weight": 5.0, "void_weight": 0.1}
    loss = MaskClassification(mask_loss="cross_entropy", points=points, count_ignored=False, **weights)
    target = torch.zeros(2, SIDE, SIDE, dtype=torch.int64)
    target[0, :32], target[1, :, 32:] = 1, 2
    pictures = torch.nn.functional.one_hot(target).movedim(3, 1).float()
    steps, losses = 40, []
    model.decode_head.begin(batches=steps)
    for step in range(steps):
        torch.manual_seed(step)
        total = sum(loss(*model.training_pairs(pictures, target)["decode_head"], 255).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(total.item())
    assert np.mean(losses[-5:]) < 0.6 * losses[0]
    with torch.inference_mode():
        assert (model.eval()(pictures).argmax(1) == target).float().mean() > 0.6  # the most frequent class alone: 0.5
