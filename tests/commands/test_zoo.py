"""The zoo by name, on a filled checkpoint: from a server, from a mirror, broken and wrong."""

import hashlib
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from maskline.builders.inference import load_segmentor
from maskline.commands.main import main
from maskline.export import card as model_card
from maskline.export.package import Trained
from maskline.weights import zoo
from tests.commands.test_import_weights import META, network
from tests.server import serving

__all__ = ["network"]

NAME = "fcn_unet-tiny_512x512"


@pytest.fixture
def content(network, tmp_path):
    torch.save({"state_dict": network, "meta": META}, tmp_path / "made.pth")
    return (tmp_path / "made.pth").read_bytes()


@pytest.fixture
def listed(content, tmp_path, monkeypatch):
    """One checkpoint in the table, of a family whose licence is narrower, and a project's folder to be in."""
    start = hashlib.sha256(content).hexdigest()[:8]
    path = f"v0.5/segformer/{NAME}_20211210_010101-{start}.pth"
    one = zoo.Checkpoint(name=NAME, family="segformer", data_set="Eyes", scores="mDice 80.1", path=path)
    monkeypatch.setattr(zoo, "checkpoints", lambda: {NAME: one})
    monkeypatch.delenv("MASKLINE_MIRROR", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return one


def get(*options):
    return CliRunner().invoke(main, ["zoo", "get", NAME, *map(str, options)])


def test_every_published_checkpoint_has_address_hash_and_terms():
    known = zoo.checkpoints()
    assert len(known) == 626
    assert list(known) == sorted(known)
    for one in known.values():
        assert one.url.startswith("https://download.openmmlab.com/mmsegmentation/v")
        assert one.sha256_start
        assert one.scores
    assert "NVIDIA" in zoo.find("segformer_mit-b0_8xb2-160k_ade20k-512x512").licence
    assert "Apache-2.0" in zoo.find("pspnet_r50-d8_4xb2-40k_cityscapes-512x1024").licence
    assert zoo.find("pspnet_r50-d8_4xb2-40k_cityscapes-512x1024").scores == "mIoU 77.85; mIoU(ms+flip) 79.18"


def test_list_and_show():
    result = CliRunner().invoke(main, ["zoo", "list", "mit-b0", "ade20k"])
    assert result.output == "segformer_mit-b0_8xb2-160k_ade20k-512x512  ADE20K  mIoU 37.41; mIoU(ms+flip) 38.34\n"
    rows = json.loads(CliRunner().invoke(main, ["zoo", "list", "segnext", "--json"]).output)
    assert [row["family"] for row in rows] == ["segnext"] * 4
    assert "licence: " in CliRunner().invoke(main, ["zoo", "show", rows[0]["name"]]).output
    result = CliRunner().invoke(main, ["zoo", "show", "segformer_mit-b0_8xb2-160k_ade20k-512"])
    assert result.exit_code == 2
    assert "did you mean segformer_mit-b0_8xb2-160k_ade20k-512x512?" in result.output


def test_a_broken_download_goes_on_and_becomes_a_model_that_is_tried(listed, content, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("maskline.download.transfer._WAITS_S", (0, 0))
    monkeypatch.setattr("maskline.download.transfer._CHUNK_BYTES", 1 << 8)
    Image.fromarray(np.full((40, 52, 3), 90, np.uint8)).save("photo.png")
    with serving(content) as server:
        server.break_after.append(len(content) // 2)
        result = get("--image", "photo.png", "--base", server.url.rsplit("/", 1)[0] + "/")
    assert result.exit_code == 0, result.output
    assert server.requests[1]["Range"].startswith("bytes=")
    assert "NVIDIA" in caplog.text
    assert "published: mDice 80.1 on Eyes" in result.output
    assert "tried: " in result.output
    with Image.open(f"models/{NAME}.jpg") as overlay:
        assert overlay.size == (52, 40)
    card = json.loads((tmp_path / "here/models" / NAME / "model.json").read_text())
    assert card["origin"] == {"name": NAME, "address": listed.url, "licence": listed.licence}
    trained = Trained.from_card(load_segmentor(tmp_path / "here/models" / NAME), card)
    found = {"bytes": 1, "test": {"mIoU_exported": 0.5, "disagreement": 0.0}}
    text = model_card.card_text(trained, found, variants=(), data_set="folder", images=1, scores={})
    assert f"The weights are, or started from, {NAME} ({listed.url}): {listed.licence}." in text
    again = get()  # the file is there: no server is needed
    assert again.exit_code == 0, again.output
    assert "the network computes" in again.output


def test_a_mirror_and_what_is_wrong_with_it(listed, content, tmp_path, monkeypatch):
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv("MASKLINE_MIRROR", str(tmp_path / "mirror"))
    (tmp_path / "mirror" / listed.file).write_bytes(content)
    assert get("-o", "m").exit_code == 0
    (tmp_path / "mirror" / listed.file).write_bytes(content[:-1] + b"x")
    result = get("-o", "other")
    assert result.exit_code == 2
    assert f"not {listed.sha256_start}; fetch it again into the folder" in result.output
    assert not (tmp_path / "here/other").exists()
    monkeypatch.setenv("MASKLINE_MIRROR", str(tmp_path / "none"))
    assert "MASKLINE_MIRROR: no such folder" in get("-o", "other").output


def test_another_file_is_refused_and_not_kept(listed, content, tmp_path):
    with serving(content + b"x") as server:
        result = get("--base", server.url.rsplit("/", 1)[0] + "/")
    assert result.exit_code == 2
    assert f"not {listed.sha256_start}; try again" in result.output
    assert [path.suffix for path in (tmp_path / "here/.maskline/downloads").iterdir()] == [".lock"]


def test_an_earlier_download_is_checked_again(listed, content, tmp_path):
    kept = tmp_path / "here/.maskline/downloads" / listed.file
    kept.parent.mkdir(parents=True)
    kept.write_bytes(content[:-1] + b"x")
    assert get().exit_code == 2
    assert not kept.exists()


def test_a_file_that_is_not_there_is_one_line(listed, content):
    with serving(content) as server:
        server.status.append(404)
        result = get("--base", server.url.rsplit("/", 1)[0])
    assert result.exit_code == 2
    assert "the server answered 404" in result.output
    assert f"fetch {listed.file} from there" in result.output
    assert "data.url" not in result.output


def test_no_server_is_one_line(listed):
    result = get("--base", "http://127.0.0.1:9/")
    assert result.exit_code == 2
    assert "cannot be downloaded (ConnectionError)" in result.output
    assert "MASKLINE_MIRROR" in result.output
    assert len(result.output.strip().splitlines()) == 1
