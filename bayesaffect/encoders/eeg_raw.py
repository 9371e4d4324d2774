"""A convolutional network over raw EEG windows (channel, time)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from scipy.fft import next_fast_len
from torch import Tensor, nn
from torch.nn import functional

from bayesaffect.encoders.heads import Block, Standardise

CALIBRATED = 64  # trials that scales of samples are taken from; all would need several times their memory


class EegRaw(nn.Module):
    """Filters in time, each through spatial filters of its own, then a separable convolution (Lawhern et al. 2018).

    ``raw`` (batch, channel, time) and ``maps`` (batch, band, channel, frame) -> embedding (batch, feature) and direct
    input (batch, band x channel), the standardised time averages of band power, as in `Eeg`: the network starts at the
    regression on band power and reads off the samples what that leaves over.

    With temporal filters a_f over ``span`` samples and spatial filters s_fd over all channels,

        u_fd(t) = sum_c s_fd(c) sum_k a_f(k) x_c(t + k),

    both linear, so the sum over channels is carried out first, and the convolution as a product of spectra, which takes
    less than half the time. Then gelu, mean over ``pool`` samples, depthwise and pointwise convolution, gelu, and mean
    and deviation over time. In place of batch normalisation, whose moments follow the batch, x and u are divided by
    their standard deviations over some training trials, once, in `calibrate`.
    """

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        *,
        dropout: float,
        feature: int = 16,
        filters: int = 8,
        depth: int = 2,
        span: int = 65,
    ):
        super().__init__()
        channels, samples = shapes["raw"]
        bands, places, _ = shapes["maps"]
        self.feature, self.direct, self.pool, self.depth = feature, bands * places, 8, depth
        self.standardise = Standardise((channels, 1))
        self.standardise_mean = Standardise((bands * places,), limit=10.0, common=True)
        width = filters * depth
        # holds a_f; the product of spectra needs room for the zeros around the window
        self.temporal = nn.Conv1d(filters, filters, span, padding=span // 2, groups=filters, bias=False)
        self.length = next_fast_len(samples + span // 2, real=True)
        self.spatial = nn.Conv1d(channels, width, 1, bias=False)
        self.standardise_filtered = Standardise((width, 1), limit=10.0)
        self.depthwise = nn.Conv1d(width, width, 17, padding=8, groups=width)
        self.pointwise = nn.Conv1d(width, width, 1)
        self.inner = nn.Dropout(dropout)
        self.out = nn.Linear(2 * width, feature)
        self.outer = nn.Dropout(dropout)

    def prepare(self, block: Block) -> Block:
        """Average the maps over time; the samples stay as they are."""
        return {"raw": block["raw"].float(), "maps": block["maps"].float().mean(-1, keepdim=True)}

    def calibrate(self, block: Block):
        self.standardise_mean.calibrate(block["maps"].mean(-1).flatten(1))
        if count := len(block["raw"]):
            some = block["raw"][torch.linspace(0, count - 1, min(CALIBRATED, count)).long()]
            with torch.no_grad():
                self.standardise.calibrate(some)
                self.standardise_filtered.calibrate(self.filtered(self.standardise(some)))

    def summary(self, block: Block) -> Tensor:
        """The direct input (batch, band x channel) alone."""
        return self.standardise_mean(block["maps"].mean(-1).flatten(1))

    def filtered(self, x: Tensor) -> Tensor:
        """u (batch, filters x depth, time) of standardised samples (batch, channel, time)."""
        kernel = self.temporal.weight[:, 0].repeat_interleave(self.depth, dim=0)
        spectrum = torch.fft.rfft(self.spatial(x), self.length) * torch.fft.rfft(kernel, self.length).conj()
        return torch.fft.irfft(spectrum, self.length).roll(kernel.shape[1] // 2, dims=-1)[..., : x.shape[-1]]

    def forward(self, block: Block) -> tuple[Tensor, Tensor]:
        hidden = functional.gelu(self.standardise_filtered(self.filtered(self.standardise(block["raw"]))))
        hidden = self.inner(functional.avg_pool1d(hidden, min(self.pool, hidden.shape[-1])))
        hidden = functional.gelu(self.pointwise(self.depthwise(hidden)))
        pooled = torch.cat([hidden.mean(-1), hidden.var(-1, correction=0).add(1e-4).sqrt()], dim=1)
        return self.outer(functional.gelu(self.out(self.outer(pooled)))), self.summary(block)
