"""A recurrent network over physiological series, with hand-made features beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from bayesaffect.encoders.heads import Block, Standardise


class Physio(nn.Module):
    """LSTM over ``series`` and a perceptron over ``features``; the features also reach the heads directly.

    ``series`` (batch, signal, time) is averaged to ``steps`` points, halved by a strided convolution and
    read by an LSTM, whose mean and last states are kept; ``features`` (batch, feature) pass one hidden
    layer. Either may be absent. Returns embedding (batch, ``feature``) and the standardised features
    (batch, feature), so that the network contains the linear regression on them.

    Entries whose ``here`` mask is false (a missing modality in a joint network) are replaced, after
    standardisation, by learned stand-ins.
    """

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        *,
        dropout: float,
        feature: int = 16,
        hidden: int = 16,
        steps: int = 60,
    ):
        super().__init__()
        self.feature, self.steps = feature, steps
        self.signals = shapes["series"][0] if "series" in shapes else 0
        self.direct = shapes["features"][0] if "features" in shapes else 0
        width = 0
        if self.signals:
            self.standardise_series = Standardise((self.signals, 1))
            self.missing_signal = nn.Parameter(torch.zeros(self.signals))
            self.stride = nn.Conv1d(self.signals, hidden, 5, stride=3, padding=2)
            self.recurrent = nn.LSTM(hidden, hidden, batch_first=True)
            width += 2 * hidden
        if self.direct:
            self.standardise_features = Standardise((self.direct,))
            self.missing_feature = nn.Parameter(torch.zeros(self.direct))
            self.perceptron = nn.Linear(self.direct, 32)
            width += 32
        self.inner = nn.Dropout(dropout)
        self.out = nn.Linear(width, feature)
        self.outer = nn.Dropout(dropout)

    def prepare(self, block: Block) -> Block:
        """Average neighbouring samples of the series so that at most ``steps`` are left."""
        block = {name: block[name].float() for name in ("series", "features") if name in block}
        if self.signals and block["series"].shape[-1] > self.steps:
            block["series"] = functional.adaptive_avg_pool1d(block["series"], self.steps)
        return block

    def calibrate(self, block: Block, here: Block | None = None):
        here = here or {}
        if self.signals:
            mask = here["series"][..., None] if here else None
            self.standardise_series.calibrate(block["series"], mask)
        if self.direct:
            self.standardise_features.calibrate(block["features"], here.get("features"))

    def summary(self, block: Block, here: Block | None = None) -> Tensor:
        """The direct input (batch, feature) alone."""
        direct = self.standardise_features(block["features"])
        return direct if here is None else torch.where(here["features"], direct, self.missing_feature)

    def forward(self, block: Block, here: Block | None = None) -> tuple[Tensor, Tensor | None]:
        parts, direct = [], None
        if self.signals:
            series = self.standardise_series(block["series"])
            if here is not None:
                series = torch.where(here["series"][..., None], series, self.missing_signal[:, None])
            states, _ = self.recurrent(functional.gelu(self.stride(series)).transpose(1, 2))
            parts += [states.mean(1), states[:, -1]]
        if self.direct:
            direct = self.summary(block, here)
            parts.append(functional.gelu(self.perceptron(self.inner(direct))))
        return self.outer(functional.gelu(self.out(self.outer(torch.cat(parts, dim=1))))), direct
