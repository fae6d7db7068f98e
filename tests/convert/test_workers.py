"""Conversion by several processes, and again after a kill."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from maskline.convert import workers
from maskline.convert.archive import convert_archive
from maskline.convert.encode import Converted
from maskline.convert.formats import folder
from maskline.convert.resume import Finished, kept
from maskline.core.errors import DataError
from tests.sets import pack_folder, split_settings, tree, work


def convert(source, target, settings, **how):
    pack_folder(source, target / "set.zip")
    return convert_archive(
        target / "set.zip",
        target / "prepared",
        layout=folder.read,
        settings=settings(),
        split=split_settings(val_fraction=0.2),
        work=work(target, **how),
        max_unpacked_bytes=10**9,
    )


def test_any_number_of_processes_gives_the_same_bytes(make_set, settings, tmp_path):
    source = make_set({"train": 35, "test": 3})
    found = []
    for count in (1, 2, 5):
        target = tmp_path / str(count)
        target.mkdir()
        convert(source, target, settings, workers=count)
        found.append(tree(target / "prepared"))
        assert list((target / "finished").iterdir()) == [], "nothing is left behind"
    assert found[0] == found[1] == found[2]


def test_problems_are_the_same_too(make_set, settings, tmp_path):
    source = make_set({"train": 20})
    for name in ("03", "18"):
        (source / f"train/masks/{name}.png").write_bytes(b"no picture")
    texts = []
    for count in (1, 3):
        with pytest.raises(DataError) as caught:
            convert(source, tmp_path, settings, workers=count)
        texts.append([str(problem) for problem in caught.value.problems])
    assert len(texts[0]) == 2
    assert texts[0] == texts[1]


SCRIPT = """
import os, signal, sys
from pathlib import Path
from maskline.convert import archive as convert
from tests.convert.test_workers import convert as run
from maskline.convert.records import LayoutSettings

limit, calls = int(sys.argv[2]), Path(sys.argv[3])
real = convert.convert_record
def counted(record, **options):
    with calls.open("a") as stream:
        stream.write(record.id + "\\n")
    if len(calls.read_text().splitlines()) == limit:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(record, **options)
convert.convert_record = counted
two = (("background", (0, 0, 0)), ("vessel", (255, 0, 0)))
settings = lambda: LayoutSettings(classes=two, ignore_index=255, mask_encoding="index", exif="error", alpha="error",
                                  channels=None, scale="error")
run(Path(sys.argv[1]) / "set", Path(sys.argv[1]), settings)
"""


def test_a_killed_conversion_goes_on_with_what_is_finished(make_set, settings, tmp_path, root):
    source = make_set({"train": 40})
    (tmp_path / "whole").mkdir()
    convert(source, tmp_path / "whole", settings)

    def run(limit, calls):
        environment = {**os.environ, "PYTHONPATH": f"{root}:{root}/lib"}
        arguments = [sys.executable, "-c", textwrap.dedent(SCRIPT), tmp_path, str(limit), tmp_path / calls]
        code = subprocess.run(arguments, env=environment, check=False).returncode
        return code, len((tmp_path / calls).read_text().splitlines())

    assert run(38, "first") == (-signal.SIGKILL, 38)
    assert not (tmp_path / "prepared").exists()
    (parts,) = (tmp_path / "finished").iterdir()
    assert sorted(path.name for path in parts.glob("part-*.bin")) == ["part-000000.bin", "part-000001.bin"]
    torn = parts / "part-000001.bin"
    torn.write_bytes(torn.read_bytes()[:-1000] + bytes(1000))
    assert run(0, "second") == (0, 24), "the torn part and the last one"
    assert tree(tmp_path / "prepared") == tree(tmp_path / "whole/prepared")


def test_a_dead_process_is_named_and_its_work_is_kept(tmp_path):
    def die(record):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(DataError, match=r"worker process: it died.*machine\.convert_workers"):
        list(workers.converted(list(range(40)), die, Finished(tmp_path), workers=2))


def test_another_conversions_parts_are_removed_unless_somebody_works_on_them(tmp_path):
    with pytest.raises(KeyboardInterrupt), kept(tmp_path, {"set": 1}) as finished:
        finished.write(0, [Converted(id="a", parts={"image": b"123"})])
        raise KeyboardInterrupt
    with kept(tmp_path, {"set": 1}) as finished:
        assert finished.is_whole(0)
        assert [record.parts for record in finished.read(0)] == [{"image": b"123"}]
        with kept(tmp_path, {"set": 2}):
            assert finished.is_whole(0), "the other one is at work"
        with pytest.raises(DataError, match="another process"), kept(tmp_path, {"set": 1}):
            pass
    assert list(tmp_path.iterdir()) == []
