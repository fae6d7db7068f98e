import zipfile

from maskline.download.synthetic.archive import write_archive


def test_layout_and_bytes(tmp_path):
    for name in ("one", "two"):
        write_archive(tmp_path / f"{name}.zip", num_train=3, num_test=2, size=64, seed=3)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        names = archive.namelist()
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    eyes = {"train": ["001_right", "001_left", "002_right"], "test": ["003_right", "003_left"]}
    assert sorted(names) == sorted(
        f"{split}/{kind}/{eye}.png"
        for split in eyes
        for eye in eyes[split]
        for kind in ("images", "masks", "second", "valid")
    )
