import platform

import pytest

from maskline.export import processor


@pytest.mark.parametrize(
    ("flags", "exact"),
    [
        ("fpu avx2 avx512f", False),
        ("fpu avx512f avx512_vnni", True),
        ("fpu avx2 avx_vnni", True),
        ("fpu avx512_vnni amx_int8", True),
        ("", False),
        ("not_avx_vnni", False),
    ],
)
def test_vnni_sums_exactly(flags, exact):
    assert processor.sums_int8_exactly(flags=flags) == exact


def test_this_machine(monkeypatch, tmp_path):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert processor.sums_int8_exactly()
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nflags\t\t: fpu avx_vnni\n\nprocessor\t: 1\nflags\t\t: fpu\n")
    assert processor._flags(tmp_path / "cpuinfo").split() == ["fpu", "avx_vnni"]
    assert processor._flags(tmp_path / "none") == ""
