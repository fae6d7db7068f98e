import hashlib

from maskline.convert.shards import ShardWriter


def test_rows_lie_one_behind_the_other(tmp_path):
    shards = ShardWriter(tmp_path, max_bytes=10)
    first = shards.add({"image": b"iii", "mask": b"mm"})
    second = shards.add({"mask": b"M", "image": b"II", "second": b"SS"})
    third = shards.add({"image": b"1", "mask": b"2"})
    large = shards.add({"image": b"x" * 50, "mask": b"y"})
    last = shards.add({"image": b"1", "mask": b"2"})
    assert (tmp_path / "shard-00000.bin").read_bytes() == b"iiimmIIMSS"
    assert [cells["shard"][6:11] for cells in (first, second, third, large, last)] == [
        "00000",
        "00000",
        "00001",
        "00002",
        "00003",
    ]
    assert (second["image_offset"], second["image_bytes"]) == (5, 2)
    assert (second["mask_offset"], second["second_offset"]) == (7, 8)
    assert second["second_sha256"] == hashlib.sha256(b"SS").hexdigest()
    assert (first["second_offset"], first["second_bytes"], first["second_sha256"]) == (0, 0, "")
