"""Early fusion: the low-level inputs of all modalities in one network that survives a missing one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from bayesaffect.encoders.eeg import Eeg
from bayesaffect.encoders.eeg_raw import EegRaw
from bayesaffect.encoders.face import Face
from bayesaffect.encoders.heads import Block, Heads, Output
from bayesaffect.encoders.physio import Physio
from bayesaffect.types import Target

STEMS = {"eeg": Eeg, "eeg_raw": EegRaw, "face": Face, "physio": Physio}


class Early(nn.Module):
    """All modalities in one network, trained end to end.

    The physiological modalities are joined signal by signal before one LSTM; maps and crops have
    convolutions of their own; what follows is shared. A modality that is missing is replaced by a
    learned stand-in, and in training each modality is hidden with probability ``absence`` (never all of
    a trial's), so that the network has met every gap before it meets one in a test (modality dropout,
    Neverova et al. 2016). ``present`` (batch, modality) is in the order of ``modalities``.
    """

    def __init__(
        self,
        spec: Mapping[str, Mapping],
        modalities: Sequence[str],
        targets: Sequence[Target],
        *,
        dropout: float,
        absence: float = 0.15,
        feature: int = 24,
    ):
        super().__init__()
        self.modalities, self.absence = tuple(modalities), absence
        kind = {m: spec[m]["encoder"] for m in self.modalities}
        self.series = tuple(m for m in self.modalities if kind[m] == "physio")
        self.alone = tuple(m for m in self.modalities if kind[m] != "physio")
        self.stems = nn.ModuleList(STEMS[kind[m]](spec[m]["shapes"], dropout=dropout) for m in self.alone)
        self.missing = nn.ParameterList(nn.Parameter(torch.zeros(s.feature)) for s in self.stems)
        self.missing_direct = nn.ParameterList(nn.Parameter(torch.zeros(s.direct)) for s in self.stems)
        self.counts = {
            name: [spec[m]["shapes"][name][0] if name in spec[m]["shapes"] else 0 for m in self.series]
            for name in ("series", "features")
        }
        joint = {name: (sum(count), 1) for name, count in self.counts.items() if sum(count)}
        self.joint = Physio(joint, dropout=dropout, feature=20, hidden=20) if self.series else None
        stems = [*self.stems, *([self.joint] if self.series else [])]
        self.trunk = nn.Linear(sum(s.feature for s in stems), feature)
        self.outer = nn.Dropout(dropout)
        self.heads = Heads(feature, sum(s.direct for s in stems), targets)

    def prepare(self, inputs: Mapping[str, Block]) -> dict[str, Block]:
        """Fixed reduction of the inputs (pooling), done once before a loop; doing it twice changes nothing."""
        prepared = {m: stem.prepare(inputs[m]) for m, stem in zip(self.alone, self.stems, strict=True)}
        for m in self.series:
            block = {name: inputs[m][name].float() for name in ("series", "features") if name in inputs[m]}
            if "series" in block and block["series"].shape[-1] != self.joint.steps:
                block["series"] = functional.adaptive_avg_pool1d(block["series"], self.joint.steps)
            prepared[m] = block
        return prepared

    def calibrate(self, inputs: Mapping[str, Block], present: Tensor, truth: Mapping[str, Tensor]):
        """Take input moments and the prior from the training trials."""
        inputs = self.prepare(inputs)
        for m, stem in zip(self.alone, self.stems, strict=True):
            here = present[:, self.modalities.index(m)]
            stem.calibrate({name: value[here] for name, value in inputs[m].items()})
        if self.series:
            self.joint.calibrate(*self._join(inputs, present))
        with torch.no_grad():
            direct = self._summary(inputs, present)
        self.heads.calibrate(truth, direct)

    def _summary(self, inputs: Mapping[str, Block], present: Tensor) -> Tensor | None:
        """The direct inputs of all stems side by side, stand-ins where a modality is missing."""
        parts = [
            torch.where(present[:, [self.modalities.index(m)]], stem.summary(inputs[m]), self.missing_direct[k])
            for k, (m, stem) in enumerate(zip(self.alone, self.stems, strict=True))
            if stem.direct
        ]
        if self.series and self.joint.direct:
            parts.append(self.joint.summary(*self._join(inputs, present)))
        return torch.cat(parts, dim=1) if parts else None

    def _join(self, inputs: Mapping[str, Block], present: Tensor) -> tuple[Block, Block]:
        """Physiological blocks side by side, and for each signal and feature whether it is there."""
        block, here = {}, {}
        for name, counts in self.counts.items():
            if sum(counts):
                block[name] = torch.cat([inputs[m][name] for m, n in zip(self.series, counts, strict=True) if n], dim=1)
                place = [self.modalities.index(m) for m, n in zip(self.series, counts, strict=True) for _ in range(n)]
                here[name] = present[:, place]
        return block, here

    def _hide(self, present: Tensor) -> Tensor:
        left = present & (torch.rand(present.shape, device=present.device) >= self.absence)
        return torch.where(left.any(1, keepdim=True), left, present)

    def forward(self, inputs: Mapping[str, Block], present: Tensor) -> Output:
        inputs = self.prepare(inputs)
        if self.training and len(self.modalities) > 1:
            present = self._hide(present)
        embeddings = []
        for k, (m, stem) in enumerate(zip(self.alone, self.stems, strict=True)):
            here = present[:, [self.modalities.index(m)]]
            embedding, _ = stem(inputs[m])
            embeddings.append(torch.where(here, embedding, self.missing[k]))
        if self.series:
            embeddings.append(self.joint(*self._join(inputs, present))[0])
        hidden = self.outer(functional.gelu(self.trunk(torch.cat(embeddings, dim=1))))
        return self.heads(hidden, self._summary(inputs, present))
