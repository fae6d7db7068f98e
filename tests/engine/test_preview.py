"""Images of predictions: image, truth, prediction in a row; the same bytes for the same weights."""

import numpy as np
import torch
from PIL import Image

from maskline.engine import preview
from maskline.engine.journal import Journal
from maskline.engine.process import StopFlag
from maskline.engine.train import fit
from tests.engine.conftest import LABELS, MemorySplit, run


class Wise(torch.nn.Module):
    """Predicts the disc, which is brighter than everything else."""

    def forward(self, images):
        bright = images.mean(1, keepdim=True)
        return torch.cat((-bright, bright), dim=1)


def drawn(path, model, samples=2):
    _, loop = run()
    preview.draw(path, model, MemorySplit(3), samples=samples, compute=loop.compute, mean=(130.0,) * 3, std=(60.0,) * 3)
    return np.asarray(Image.open(path).convert("RGB"))


def test_a_row_has_image_truth_and_prediction(tmp_path):
    picture = drawn(tmp_path / "a.png", Wise())
    split, width = MemorySplit(3), 36
    assert picture.shape == (32 + 4 + 32, 3 * width + 8, 3)
    for row in range(2):
        sample = split.sample(row)
        shown = picture[row * 36 : row * 36 + 32]
        image, truth, predicted = (shown[:, k * (width + 4) : k * (width + 4) + width] for k in range(3))
        np.testing.assert_array_equal(image, sample.image)
        known = sample.mask != LABELS.ignore_index
        color = np.asarray(LABELS.palette)[np.where(known, sample.mask, 0)]
        np.testing.assert_array_equal(truth[known], ((sample.image + color.astype(int)) // 2)[known])
        np.testing.assert_array_equal(truth[~known], sample.image[~known])
        np.testing.assert_array_equal(predicted[known], truth[known])
    assert (picture[32:36] == 255).all()


def test_no_more_rows_than_images(tmp_path):
    assert drawn(tmp_path / "a.png", Wise(), samples=9).shape[0] == 3 * 32 + 2 * 4


def pictures(folder, **changes):
    state, loop = run(preview_every=5, **changes)
    journal = Journal(folder / "journal" / "0123456789abcdef")
    fit(state, loop, journal=journal, stop=StopFlag())
    return state, {path.name: path.read_bytes() for path in sorted(journal.pictures.iterdir())}


def test_every_n_iterations_and_the_same_bytes_again(tmp_path):
    _, once = pictures(tmp_path / "one")
    _, again = pictures(tmp_path / "two")
    assert list(once) == ["iteration-000000005.png", "iteration-000000010.png"]
    assert once == again
    assert (tmp_path / "one" / "predictions" / "0123456789ab").is_dir()


def test_they_change_nothing_and_can_be_left_out(tmp_path):
    drawn_run, _ = pictures(tmp_path / "one")
    state, loop = run()
    fit(state, loop, journal=Journal(tmp_path / "journal" / "f"), stop=StopFlag())
    assert state.trace == drawn_run.trace
    assert state.hashes == drawn_run.hashes
    assert not (tmp_path / "predictions").exists()


def test_without_a_val_split(tmp_path):
    state, loop = run(preview_every=5, validation=None)
    fit(state, loop, journal=Journal(tmp_path / "journal" / "f"), stop=StopFlag())
    assert state.iteration == 12
    assert not (tmp_path / "predictions").exists()
