"""Which classes an image has: by hand."""

import torch
from torch.nn import functional as F

from maskline.losses.presence import class_presence


def test_is_the_binary_cross_entropy_of_classes_in_each_image():
    logits = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
    target = torch.tensor([[[0, 0], [255, 2]], [[255, 255], [1, 1]]])
    there = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    expected = F.binary_cross_entropy_with_logits(logits, there)
    torch.testing.assert_close(class_presence(logits[:, :, None, None], target, 255), expected)
    target[target == 255] = 1  # an ignored value may be a class id elsewhere
    torch.testing.assert_close(class_presence(logits[:, :, None, None], target, 1).isfinite(), torch.tensor(True))
