"""The .pt2 file: right at sizes that the tracer's own conditions would refuse, and the same bytes anywhere."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from maskline.core.errors import ExportError
from maskline.export import package, parity, pt2
from maskline.export.trace import trace

LIMITS = package.Limits(max_disagreement=1e-4, max_metric_change=1e-4, section="export.pt2")


@pytest.fixture(scope="module")
def variant(trained):
    about = {**package.describe(trained, example_size=(40, 48)), "output_names": trained.interface.names}
    return pt2.Pt2Variant(metadata=about, limits=LIMITS)


@pytest.fixture(scope="module")
def folder(trained, variant, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pt2")
    variant.write(folder, program=trace(trained.deployable(), example_size=(40, 48)), content=b"")
    return folder


def test_the_gate_holds_it_against_torch_at_all_sizes(trained, pictures, folder, variant):
    model = variant.open(folder, threads=1)
    found = package.check_parity(trained.runtime(threads=1), model, pictures, place=folder, limits=LIMITS)
    assert found["odd_sizes"]["cases"] == len(parity.ODD_SIZES)
    assert model.metadata["class_names"] == ["background", "disc", "vessel"]


def test_a_changed_weight_is_refused(trained, pictures, folder, variant):
    program = trace(trained.deployable(), example_size=(40, 48))
    with torch.no_grad():
        program.state_dict["network.head.bias"].mul_(1.05)
    program = torch.export.load(io.BytesIO(pt2.to_pt2(program, metadata=variant.metadata)))
    path = folder / "other.pt2"
    torch.export.save(program, path, extra_files={pt2.METADATA_FILE: '{"output_names": [], "class_names": []}'})
    model = pt2.Pt2Model(path, threads=1)
    model.metadata = dict(variant.metadata)
    with torch.no_grad():
        trained.network.head.bias.div_(1.05)  # the traced program shares the network's tensors
    with pytest.raises(ExportError, match=r"of the (pixels|probability) .*\(export.pt2.max_disagreement"):
        package.check_parity(trained.runtime(threads=1), model, pictures, place=path, limits=LIMITS)


def test_plain_torch_runs_it_without_this_project(folder, pictures, trained, tmp_path):
    image = pictures.sample(1).image[None]
    np.save(tmp_path / "image.npy", image)
    code = (
        "import sys, numpy, torch; sys.modules['maskline'] = None; "
        "model = torch.export.load(sys.argv[1]).module(); "
        "numpy.save(sys.argv[3], model(torch.from_numpy(numpy.load(sys.argv[2])))[0].numpy())"
    )
    paths = [str(folder / "model.pt2"), str(tmp_path / "image.npy"), str(tmp_path / "labels.npy")]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = trained.runtime(threads=1).predict(image).labels
    assert np.mean(np.load(tmp_path / "labels.npy") != expected) < 1e-3


def test_two_files_have_the_same_bytes_and_nothing_of_this_machine(trained, folder, variant, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    variant.write(tmp_path, program=trace(trained.deployable(), example_size=(40, 48)), content=b"")
    content = (folder / "model.pt2").read_bytes()
    assert (tmp_path / "model.pt2").read_bytes() == content
    for part in (str(Path.cwd()), "site-packages", "conftest", "lib/maskline"):
        assert part.encode() not in content
    with zipfile.ZipFile(folder / "model.pt2") as archive:
        assert all(member.date_time[0] == 1980 for member in archive.infolist())


def test_a_file_of_something_else(tmp_path):
    (tmp_path / "model.pt2").write_bytes(b"no archive")
    with pytest.raises(ExportError, match="cannot be loaded"):
        pt2.Pt2Model(tmp_path / "model.pt2", threads=1)
