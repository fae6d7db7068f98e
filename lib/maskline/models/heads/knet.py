"""K-Net's head: a kernel for each class, refined in stages by what it selects.

Source: Zhang et al., "K-Net: Towards Unified Image Segmentation", 2021; names as in MMSegmentation (Apache-2.0).
"""

from typing import Unpack

import torch
from torch import Tensor, nn

from maskline.core.errors import ShapeError
from maskline.models.heads.base import Features, Head, HeadOptions, Pair
from maskline.models.heads.transformer import Attention, FeedForward
from maskline.models.layers import ConvNormAct


class KNetHead(Head):
    """Another head gives features, first logits and, by its classifier, first kernels; each stage gives new ones.

    Training compares the first logits and those of each stage.

    Args:
        generator: The other head; one that ``embed``s, with the same options.
        num_stages: Refinements.
        num_heads: Of the attention among kernels.
        num_mask_layers: Linear layers from a kernel to the one that is applied to the features.
        feedforward_channels: Channels between the two layers of the perceptron.
        kernel_channels: Channels that are updated together; divides ``channels``.
        options: See ``HeadOptions``.
    """

    def __init__(
        self,
        *,
        generator: Head,
        num_stages: int = 3,
        num_heads: int = 8,
        num_mask_layers: int = 1,
        feedforward_channels: int = 2048,
        kernel_channels: int = 256,
        **options: Unpack[HeadOptions],
    ) -> None:
        super().__init__(options, input_transform="multiple_select", with_classifier=False)
        kernel_channels = min(kernel_channels, self.channels)
        for name, divisor in (("kernel_channels", kernel_channels), ("num_heads", num_heads)):
            if self.channels % divisor:
                raise ShapeError(
                    "K-Net head", f"{name} {divisor} does not divide channels {self.channels}", "choose one that does"
                )
        self.kernel_generate_head = generator
        self.kernel_update_head = nn.ModuleList(
            _Stage(
                self.channels,
                num_heads=num_heads,
                num_mask_layers=num_mask_layers,
                hidden=feedforward_channels,
                kernel_channels=kernel_channels,
            )
            for _ in range(num_stages)
        )

    def forward(self, features: Features, previous: Tensor | None = None) -> Tensor:
        """Map features to the last stage's logits, at the resolution of the generator's."""
        del previous
        return self._stages(features)[-1]

    def supervise_outputs(
        self, features: Features, previous: Tensor | None, target: Tensor, *, padded: tuple[int, int]
    ) -> tuple[Tensor, dict[str, Pair]]:
        """See ``Head``: ``.stage_0`` are the generator's logits, ``.stage_1`` those of the first refinement."""
        del previous
        *earlier, last = self._stages(features)
        outputs = {**{f".stage_{i}": logits for i, logits in enumerate(earlier)}, "": last}
        return last, {name: self.pair(logits, target, padded=padded) for name, logits in outputs.items()}

    def _stages(self, features: Features) -> list[Tensor]:
        x = self.kernel_generate_head.embed(features)
        logits = [self.kernel_generate_head.classify(x)]
        kernels = self.kernel_generate_head.conv_seg.weight.flatten(1).expand(x.shape[0], -1, -1)
        for stage in self.kernel_update_head:
            masks, kernels = stage(x, kernels, logits[-1])
            logits.append(masks)
        return logits


class _Stage(nn.Module):
    """Kernels (N, classes, C) that have seen what the former logits select, and each other."""

    def __init__(
        self, channels: int, *, num_heads: int, num_mask_layers: int, hidden: int, kernel_channels: int
    ) -> None:
        super().__init__()
        self.attention = Attention(channels, num_heads)
        self.attention_norm = nn.LayerNorm(channels)
        self.kernel_update_conv = _KernelUpdate(kernel_channels)
        self.feat_transform = ConvNormAct(channels, channels, norm=None, activation=False)
        self.ffn = FeedForward(channels, hidden)
        self.ffn_norm = nn.LayerNorm(channels)
        self.mask_fcs = nn.ModuleList()
        for _ in range(num_mask_layers):
            self.mask_fcs.extend([nn.Linear(channels, channels, bias=False), nn.LayerNorm(channels), nn.ReLU()])
        self.fc_mask = nn.Linear(channels, channels)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, x: Tensor, kernels: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits N, classes, H, W and the kernels that the next stage starts from."""
        x = self.feat_transform(x)
        selected = torch.einsum("nkhw,nchw->nkc", logits.softmax(dim=1), x)
        kernels = self.kernel_update_conv(selected, kernels)
        kernels = self.attention_norm(self.attention(kernels, kernels))
        kernels = self.ffn_norm(self.ffn(kernels))
        applied = kernels
        for layer in self.mask_fcs:
            applied = layer(applied)
        return torch.einsum("nkc,nchw->nkhw", self.fc_mask(applied), x), kernels


class _KernelUpdate(nn.Module):
    """A kernel and the feature that it selected, mixed by gates that both of them give."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.dynamic_layer = nn.Linear(channels, 2 * channels)
        self.input_layer = nn.Linear(channels, 2 * channels)
        self.input_gate = nn.Linear(channels, channels)
        self.update_gate = nn.Linear(channels, channels)
        self.norm_in = nn.LayerNorm(channels)
        self.norm_out = nn.LayerNorm(channels)
        self.input_norm_in = nn.LayerNorm(channels)
        self.input_norm_out = nn.LayerNorm(channels)
        self.fc_layer = nn.Linear(channels, channels)
        self.fc_norm = nn.LayerNorm(channels)

    def forward(self, selected: Tensor, kernels: Tensor) -> Tensor:
        """Map two of (N, classes, C) to one."""
        groups = (*kernels.shape[:2], -1, self.channels)
        selected_in, selected_out = self.dynamic_layer(selected.reshape(groups)).chunk(2, dim=3)
        kernel_in, kernel_out = self.input_layer(kernels.reshape(groups)).chunk(2, dim=3)
        both = kernel_in * selected_in
        keep = self.input_norm_in(self.input_gate(both)).sigmoid()
        update = self.norm_in(self.update_gate(both)).sigmoid()
        mixed = update * self.norm_out(selected_out) + keep * self.input_norm_out(kernel_out)
        return self.fc_norm(self.fc_layer(mixed)).relu().flatten(2)  # type: ignore[no-any-return]
