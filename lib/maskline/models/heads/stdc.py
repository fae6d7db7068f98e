"""STDC's detail head: an FCN head whose two classes are whether a pixel lies at a boundary.

Source: Fan et al., "Rethinking BiSeNet For Real-time Semantic Segmentation", 2021; names as in MMSegmentation
(Apache-2.0).
"""

from typing import Any

import torch

from maskline.models.heads.fcn import FCNHead

_CLASSES = 2


class STDCHead(FCNHead):
    """See ``FCNHead``; logits of no detail and detail. ``maskline.losses.edges`` makes what they are compared with."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "num_classes": _CLASSES})
        # Constants of the targets, in files of weights by these names.
        laplacian = torch.full((1, 1, 3, 3), -1.0)
        laplacian[:, :, 1, 1] = 8.0
        self.register_buffer("laplacian_kernel", laplacian)
        self.register_buffer("fusion_kernel", torch.tensor([0.6, 0.3, 0.1]).view(1, 3, 1, 1))
