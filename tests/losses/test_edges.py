"""Targets at borders: MMSegmentation's rules on small maps, ignored pixels without a part."""

import numpy as np
import pytest
import torch

from maskline.losses.edges import at_boundary, balanced_borders, borders, details, on_details
from maskline.losses.pixel import cross_entropy, ohem_batch

IGNORE = 255


def entropy(logits, target, ignore_index):
    return cross_entropy(logits, target, ignore_index, class_weights=None, label_smoothing=0.0)


def halves(height=8, width=8):
    target = torch.zeros(1, height, width, dtype=torch.int64)
    target[:, :, width // 2 :] = 1
    return target


def test_no_border_is_beside_ignored_pixels():
    target = halves()
    assert borders(target, IGNORE)[0, 3].tolist() == [False, False, True, True, True, True, True, False]
    target[:, :, 4] = IGNORE
    assert not borders(target, IGNORE).any()


def test_borders_are_mmsegmentations():
    target = torch.from_numpy(np.random.default_rng(0).integers(0, 2, (1, 5, 4)).repeat(6, 1).repeat(5, 2))
    target[:, :7, :9] = IGNORE
    ids = target[0].numpy()
    edge = np.zeros(ids.shape, dtype=bool)
    for y, x in np.ndindex(ids.shape):
        for there in ((y - 1, x), (y, x + 1), (y + 1, x + 1), (y + 1, x - 1)):
            if 0 <= there[0] < ids.shape[0] and 0 <= there[1] < ids.shape[1] and IGNORE not in (ids[y, x], ids[there]):
                edge[y, x] |= ids[y, x] != ids[there]
    wide = np.pad(edge, ((2, 1), (2, 1)))  # cv2.dilate with a kernel of 4x4
    expected = np.lib.stride_tricks.sliding_window_view(wide, (4, 4)).any(axis=(2, 3))
    np.testing.assert_array_equal(borders(target, IGNORE)[0].numpy(), expected)


def test_either_kind_of_pixel_weighs_as_much():
    logits = torch.zeros(1, 1, 8, 8)
    border = borders(halves(), IGNORE)
    share = border.float().mean()
    loss = balanced_borders(logits, halves(), IGNORE)
    torch.testing.assert_close(loss, 2 * share * (1 - share) * torch.tensor(2.0).log())
    ignored = halves(16)
    ignored[:, 8:] = IGNORE
    logits = torch.zeros(1, 1, 16, 8)
    logits[:, :, 8:] = 9.0
    counted = balanced_borders(logits, ignored, IGNORE)
    assert 0 < counted < torch.tensor(2.0).log()
    assert balanced_borders(logits, torch.full_like(ignored, IGNORE), IGNORE) == 0


def test_details_are_where_an_id_is_larger_than_around():
    target = halves()
    detail = details(target, threshold=0.1)[0]
    assert detail[3].tolist() == [False, False, False, False, True, True, False, True]  # one at a step of 2, the border
    assert not details(torch.zeros_like(target), threshold=0.1).any()


def test_ignored_pixels_are_no_details():
    target = halves()
    target[:, :2] = IGNORE
    logits = torch.randn(1, 2, 8, 8)
    loss = on_details(logits, target, IGNORE, loss=entropy, threshold=0.1)
    logits[:, :, :2] += 100 * torch.randn(1, 2, 2, 8)
    torch.testing.assert_close(on_details(logits, target, IGNORE, loss=entropy, threshold=0.1), loss)


def test_pixels_are_chosen_by_the_last_channel_which_learns_nothing():
    logits = torch.randn(1, 4, 8, 8, requires_grad=True)
    with torch.no_grad():
        logits[:, 3] = -5.0
        logits[:, 3, 2] = 5.0
    loss = at_boundary(logits, halves(), IGNORE, loss=entropy)
    torch.testing.assert_close(loss, entropy(logits[:, :3, 2:3], halves()[:, 2:3], IGNORE))
    loss.backward()
    assert not logits.grad[:, 3].any()
    assert logits.grad[:, :3, 2].all()


@pytest.mark.parametrize(("threshold", "min_kept"), [(0.3, 3), (0.9, 3), (0.0, 20), (0.0, 10_000)])
def test_hard_pixels_of_a_batch(threshold, min_kept):
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3, 6, 7), torch.randint(0, 3, (2, 6, 7))
    target[0, :2] = IGNORE
    weights = (1.0, 2.0, 0.5)
    valid = target != IGNORE
    probability = logits.softmax(1).gather(1, target.masked_fill(~valid, 0).unsqueeze(1)).squeeze(1)[valid]
    order = probability.argsort()
    bound = max(float(probability[order[min(min_kept, len(order) - 1)]]), threshold)
    losses = torch.nn.functional.cross_entropy(
        logits, target, weight=torch.tensor(weights), ignore_index=IGNORE, reduction="none"
    )[valid]
    found = ohem_batch(logits, target, IGNORE, class_weights=weights, threshold=threshold, min_kept=min_kept)
    torch.testing.assert_close(found, losses[probability < bound].mean())
    nothing = torch.full_like(target, IGNORE)
    assert ohem_batch(logits, nothing, IGNORE, class_weights=None, threshold=threshold, min_kept=min_kept) == 0
