"""A convolutional network over maps of EEG band power (band, channel, frame)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from bayesaffect.encoders.heads import Block, Standardise


class Eeg(nn.Module):
    """Spatial filters over all channels and bands, then a separable convolution over time.

    ``maps`` (batch, band, channel, frame) -> embedding (batch, feature) and direct input (batch, band x channel),
    the standardised time averages of band power. The order, spatial before temporal, is that of Lawhern et al. (2018).
    """

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        *,
        dropout: float,
        feature: int = 16,
        filters: int = 12,
        frames: int = 24,
    ):
        super().__init__()
        bands, channels, _ = shapes["maps"]
        self.feature, self.direct, self.frames = feature, bands * channels, frames
        self.standardise = Standardise((bands, channels, 1))
        # band power is already on one scale within its subject; its trial averages differ in how reliable they are
        self.standardise_mean = Standardise((bands * channels,), limit=10.0, common=True)
        self.spatial = nn.Conv2d(bands, filters, (channels, 1))
        self.temporal = nn.Conv1d(filters, filters, 5, padding=2, groups=filters)
        self.mix = nn.Conv1d(filters, 16, 1)
        self.inner = nn.Dropout(dropout)
        self.out = nn.Linear(32, feature)
        self.outer = nn.Dropout(dropout)

    def prepare(self, block: Block) -> Block:
        """Average neighbouring frames so that at most ``frames`` are left."""
        maps = block["maps"].float()
        if maps.shape[-1] > self.frames:
            maps = functional.adaptive_avg_pool2d(maps, (maps.shape[-2], self.frames))
        return {"maps": maps}

    def calibrate(self, block: Block):
        self.standardise.calibrate(block["maps"])
        self.standardise_mean.calibrate(block["maps"].mean(-1).flatten(1))

    def summary(self, block: Block) -> Tensor:
        """The direct input (batch, band x channel) alone."""
        return self.standardise_mean(block["maps"].mean(-1).flatten(1))

    def forward(self, block: Block) -> tuple[Tensor, Tensor]:
        filtered = self.spatial(self.inner(self.standardise(block["maps"]))).squeeze(2)
        hidden = functional.gelu(self.mix(functional.gelu(self.temporal(filtered))))
        pooled = torch.cat([hidden.mean(-1), hidden.var(-1, correction=0).add(1e-4).sqrt()], dim=1)
        return self.outer(functional.gelu(self.out(self.outer(pooled)))), self.summary(block)
