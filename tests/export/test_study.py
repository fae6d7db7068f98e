"""The study of what exporting gains: its settings exist, and its table has times, targets and agreement."""

from maskline.params.whole import load_params
from tools import export_study
from tools.trial import write_params


def test_the_table():
    scores = {"mIoU_torch": "0.9", "mIoU_exported": "0.89"}
    agreement = [
        {"name": "fp32", "bytes": "4", "disagreement": "0.0", **scores},
        {"name": "int8", "bytes": "1", "disagreement": "0.0004", **scores},
    ]
    times = [
        {"name": "torch", "median_ms": "100.0", "ratio": "1.0"},
        {"name": "fp32", "median_ms": "55.0", "ratio": "0.55"},
    ]
    assert export_study._lines("Unet/ResNet-18", agreement, times) == [
        "Unet/ResNet-18: median ms, over eager",
        "  torch               100.0   1.000",
        "  fp32                 55.0   0.550  at most 0.60",
        "  same class in int8: 0.99960, at least 0.999",
        "  mIoU torch 0.9, int8 0.89",
        "  bytes fp32 4, int8 1",
    ]


def test_settings_are_real(shipped_params, tmp_path):
    path = tmp_path / "params.yaml"
    for network in export_study.NETWORKS.values():
        path.write_bytes((shipped_params).read_bytes())
        write_params(path, {"model.type": "smp", **network})
        assert load_params(path).model.type == "smp"
    assert export_study.TARGETS.keys() == export_study.NETWORKS.keys()
