"""A small network on face crops and on action units over time, pooled over the frames in which a face was seen."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from bayesaffect.encoders.heads import Block, Standardise


class Face(nn.Module):
    """Crops and action units -> embedding, with mean and deviation over visible frames.

    ``crops`` (batch, frame, row, column) uint8 or float, ``visible`` (batch, frame) and optionally ``units`` (batch,
    frame, unit), action units or their proxies over time, and ``features`` (batch, feature), their statistics ->
    embedding (batch, feature) and direct input (batch, statistic) (``None`` without ``features``). Each pooled crop has
    its own mean removed and is divided by its own standard deviation, so that illumination does not count, and passes
    two convolutions; units pass one over time, 0 where no face was seen. Over frames, with the weights w_k of the
    visible ones: m = sum_k w_k h_k and the deviation sqrt(sum_k w_k (h_k - m)^2).
    """

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        *,
        dropout: float,
        feature: int = 16,
        frames: int = 16,
        side: int = 24,
        steps: int = 40,
    ):
        super().__init__()
        self.feature, self.frames, self.side, self.steps = feature, frames, side, steps
        _, rows, columns = shapes["crops"]
        self.size = (min(rows, side), min(columns, side))
        self.convolution = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.GELU(), nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.GELU()
        )
        flat = 12 * ((self.size[0] + 3) // 4) * ((self.size[1] + 3) // 4)
        self.frame = nn.Linear(flat, 16)
        self.units = shapes["units"][1] if "units" in shapes else 0
        if self.units:
            self.standardise_units = Standardise((1, self.units))
            self.moving = nn.Conv1d(self.units, 8, 5, padding=2)
        self.direct = shapes["features"][0] if "features" in shapes else 0
        if self.direct:
            self.standardise = Standardise((self.direct,))
        self.inner = nn.Dropout(dropout)
        self.out = nn.Linear(32 + (16 if self.units else 0) + self.direct, feature)
        self.outer = nn.Dropout(dropout)

    def prepare(self, block: Block) -> Block:
        """Average visible crops over stretches of frames, and pixels, down to (frames, side, side), and units likewise
        down to (steps, unit).

        The new ``visible`` is the share of frames of the stretch in which a face was seen; ``seen`` that of the units.
        """
        crops, visible = block["crops"], block["visible"].float()
        rest = {"features": block["features"].float()} if self.direct else {}
        if self.units:
            units, seen = block["units"].float(), block.get("seen", visible)
            rest["units"], rest["seen"] = _pooled(units, seen, self.steps)
        if tuple(crops.shape[2:]) != self.size:
            # by chunks: crops of a whole study as floats would not fit into memory
            crops = torch.cat([functional.adaptive_avg_pool2d(part.float(), self.size) for part in crops.split(16)])
        crops, visible = _pooled(crops.float(), visible, self.frames)
        return {"crops": crops, "visible": visible, **rest}

    def calibrate(self, block: Block):
        if self.units:
            self.standardise_units.calibrate(block["units"], block["seen"][..., None] > 0)
        if self.direct:
            self.standardise.calibrate(block["features"])

    def summary(self, block: Block) -> Tensor:
        """The direct input (batch, statistic) alone."""
        return self.standardise(block["features"])

    def forward(self, block: Block) -> tuple[Tensor, Tensor | None]:
        crops = block["crops"]
        batch, frames = crops.shape[:2]
        flat = crops.flatten(2)
        flat = (flat - flat.mean(-1, keepdim=True)) / flat.std(-1, keepdim=True).clamp(min=1e-3)
        image = flat.reshape(batch * frames, 1, *crops.shape[2:])
        hidden = functional.gelu(self.frame(self.inner(self.convolution(image).flatten(1)))).reshape(batch, frames, -1)
        pooled = _moments(hidden, block["visible"])
        if self.units:
            series = self.standardise_units(block["units"]) * (block["seen"] > 0)[..., None]
            hidden = functional.gelu(self.moving(self.inner(series).transpose(1, 2))).transpose(1, 2)
            pooled += _moments(hidden, block["seen"])
        direct = self.summary(block) if self.direct else None
        pooled = torch.cat(pooled if direct is None else [*pooled, direct], dim=1)
        return self.outer(functional.gelu(self.out(self.outer(pooled)))), direct


def _pooled(values: Tensor, visible: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Means over the visible frames of at most ``most`` stretches of (batch, frame, ...), and the share visible."""
    if values.shape[1] <= most:
        return values, visible
    edges = torch.linspace(0, values.shape[1], most + 1).round().int().tolist()
    parts = [slice(a, b) for a, b in itertools.pairwise(edges)]
    more = (..., *[None] * (values.ndim - 2))
    weighted = values * visible[more]
    share = torch.stack([visible[:, p].mean(1) for p in parts], dim=1)
    return torch.stack([weighted[:, p].mean(1) for p in parts], dim=1) / share.clamp(min=1e-6)[more], share


def _moments(hidden: Tensor, visible: Tensor) -> list[Tensor]:
    """Mean and deviation (batch, feature) of ``hidden`` (batch, frame, feature) over visible frames."""
    weight = (visible / visible.sum(1, keepdim=True).clamp(min=1e-6))[..., None]
    mean = (weight * hidden).sum(1)
    return [mean, ((weight * (hidden - mean[:, None]) ** 2).sum(1) + 1e-4).sqrt()]
