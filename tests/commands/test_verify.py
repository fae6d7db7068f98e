"""``maskline verify``: a run repeats itself, and what was changed since is named."""

import json

import pytest

from maskline.params.base.reading import read_yaml

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def project(finished_copy):
    return finished_copy


def verify(project, *options, code):
    printed = project.run("maskline", "verify", *options, code=code)
    return json.loads(printed[printed.index("{\n") : printed.rindex("}\n") + 2]) if "--json" in options else printed


def test_a_run_repeats_itself_to_the_last_bit(project):
    before = project.run("git", "status", "--porcelain")
    weights = project.read("data/models/model.safetensors")
    printed = verify(project, code=0)
    assert "4 of 4 iterations: losses, gradient norms and weights are the same to the last bit" in printed
    assert "What differs" not in printed
    assert project.read("data/models/model.safetensors") == weights
    assert project.run("git", "status", "--porcelain") == before, "the workspace stays as it is"
    assert not list((project.folder / ".maskline").rglob("iteration-*")), "nor is a journal left"


def test_the_first_iterations_alone(project):
    found = verify(project, "--iterations", "3", "--json", code=0)
    assert found == {"equal": True, "reproduced": True, "iterations": 3, "differences": []}


@pytest.fixture
def edited(project):
    """Edits of the project's files that are taken back."""
    former = {}

    def edit(name, change):
        path = project.folder / name
        former[path] = path.read_bytes()
        path.write_text(change(former[path].decode()))

    yield edit
    for path, content in former.items():
        path.unlink(missing_ok=True)  # it may be a link into DVC's cache
        path.write_bytes(content)


def test_what_was_changed_since_is_named(project, edited):
    edited("params.yaml", lambda text: text.replace("  lr: 0.002", "  lr: 0.004", 1))
    edited("requirements.lock", lambda text: text + "# one more\n")
    edited("lib/maskline/optim/ema.py", lambda text: text + "# one more\n")
    found = verify(project, "--iterations", "1", "--json", code=1)
    assert (found["equal"], found["reproduced"]) == (False, True)
    assert [row["what"] for row in found["differences"]] == ["params: optimizer.lr", "code", "lock (requirements.lock)"]
    assert found["differences"][0] == {"what": "params: optimizer.lr", "recorded": 0.002, "found": 0.004}


def test_another_optimizer_step_is_found(project, edited):
    edited("lib/maskline/optim/optimizers.py", lambda text: text.replace('= group["lr"]', '= group["lr"] * 1.001'))
    printed = verify(project, code=1)
    assert "losses, gradient norms and weights are NOT the same" in printed
    for name in ("code", "loss", "weights", "final weights"):
        assert any(line.split("│")[1].strip() == name for line in printed.splitlines() if line.startswith("│"))


def test_other_masks_are_found(project, edited):
    manifest = "data/prepared/manifest.csv"
    receipt = json.loads(project.read("data/models/model.json"))["receipt"]
    assert len({receipt["manifest_sha256"], receipt["images_sha256"], receipt["masks_sha256"]}) == 3
    edited("params.yaml", lambda text: text.replace("val_fraction: 0.34", "val_fraction: 0.5", 1))
    assert read_yaml(project.folder / "params.yaml")["data"]["val_fraction"] == 0.5
    former = project.read(manifest)
    project.run("python", "-m", "stages.convert")
    assert project.read(manifest) != former
    found = verify(project, "--iterations", "2", "--json", code=1)
    assert {"manifest", "loss"} <= {row["what"] for row in found["differences"]}
    project.run("dvc", "checkout", "--force", "data/prepared")


def test_training_that_fails_again(project, edited):
    edited("stages/train.py", lambda text: text + "\n")
    (project.folder / "stages" / "train.py").unlink()
    assert "stages/train.py: no such file; run maskline verify in the project's folder" in verify(project, code=2)
