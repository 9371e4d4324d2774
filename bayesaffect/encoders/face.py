"""A small convolutional network on face crops, frame by frame, pooled over the frames in which a face was seen."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from bayesaffect.encoders.heads import Block, Standardise


class Face(nn.Module):
    """Crops -> embedding, with mean and deviation over visible frames; action units beside them where given.

    ``crops`` (batch, frame, row, column) uint8 or float, ``visible`` (batch, frame) and optionally
    ``features`` (batch, feature) -> embedding (batch, feature) and direct input (batch, action unit)
    (``None`` without action units). Each pooled crop has its own mean removed and is
    divided by its own standard deviation, so that illumination does not count.
    """

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        *,
        dropout: float,
        feature: int = 16,
        frames: int = 16,
        side: int = 24,
    ):
        super().__init__()
        self.feature, self.frames, self.side = feature, frames, side
        _, rows, columns = shapes["crops"]
        self.size = (min(rows, side), min(columns, side))
        self.convolution = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.GELU(), nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.GELU()
        )
        flat = 12 * ((self.size[0] + 3) // 4) * ((self.size[1] + 3) // 4)
        self.frame = nn.Linear(flat, 16)
        self.units = shapes["features"][0] if "features" in shapes else 0
        if self.units:
            self.standardise = Standardise((self.units,))
        self.direct = self.units
        self.inner = nn.Dropout(dropout)
        self.out = nn.Linear(32 + self.units, feature)
        self.outer = nn.Dropout(dropout)

    def prepare(self, block: Block) -> Block:
        """Average visible crops over stretches of frames, and pixels, down to (frames, side, side).

        The new ``visible`` is the share of frames of the stretch in which a face was seen.
        """
        crops, visible = block["crops"], block["visible"].float()
        rest = {"features": block["features"].float()} if self.units else {}
        if tuple(crops.shape[2:]) != self.size:
            # by chunks: crops of a whole study as floats would not fit into memory
            crops = torch.cat([functional.adaptive_avg_pool2d(part.float(), self.size) for part in crops.split(16)])
        if crops.shape[1] > self.frames:
            edges = torch.linspace(0, crops.shape[1], self.frames + 1).round().int().tolist()
            weighted = crops.float() * visible[..., None, None]
            parts = [slice(a, b) for a, b in itertools.pairwise(edges)]
            share = torch.stack([visible[:, p].mean(1) for p in parts], dim=1)
            crops = torch.stack([weighted[:, p].mean(1) for p in parts], dim=1) / share.clamp(min=1e-6)[..., None, None]
            visible = share
        return {"crops": crops.float(), "visible": visible, **rest}

    def calibrate(self, block: Block):
        if self.units:
            self.standardise.calibrate(block["features"])

    def summary(self, block: Block) -> Tensor:
        """The direct input (batch, action unit) alone."""
        return self.standardise(block["features"])

    def forward(self, block: Block) -> tuple[Tensor, Tensor | None]:
        crops, visible = block["crops"], block["visible"]
        batch, frames = crops.shape[:2]
        flat = crops.flatten(2)
        flat = (flat - flat.mean(-1, keepdim=True)) / flat.std(-1, keepdim=True).clamp(min=1e-3)
        image = flat.reshape(batch * frames, 1, *crops.shape[2:])
        hidden = functional.gelu(self.frame(self.inner(self.convolution(image).flatten(1)))).reshape(batch, frames, -1)
        weight = (visible / visible.sum(1, keepdim=True).clamp(min=1e-6))[..., None]
        mean = (weight * hidden).sum(1)
        deviation = ((weight * (hidden - mean[:, None]) ** 2).sum(1) + 1e-4).sqrt()
        pooled = torch.cat([mean, deviation], dim=1)
        direct = None
        if self.units:
            direct = self.summary(block)
            pooled = torch.cat([pooled, direct], dim=1)
        return self.outer(functional.gelu(self.out(self.outer(pooled)))), direct
