"""Trials as tensors: what a network is trained on, kept in one safetensors file that every worker reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bayesaffect.files import atomic
from bayesaffect.types import Trials
from bayesaffect.uncertainty.checkpoint import sweep, writing


@dataclass(frozen=True)
class Data:
    """Inputs, presence and truth of some trials.

    ``inputs`` modality -> variable -> (trial, ...), zeros where missing; ``present`` bool (trial,
    modality); ``truth`` target -> (trial,), float with NaN missing or int64 with -1 missing;
    ``subject`` one name per trial: of the person, or of whatever else folds hold apart (`types.unit`).
    """

    inputs: Mapping[str, Mapping[str, Tensor]]
    present: Tensor
    truth: Mapping[str, Tensor]
    subject: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.subject)

    def rows(self, index: Sequence[int] | np.ndarray | Tensor) -> Data:
        """The trials at some positions; a position may occur several times."""
        index = torch.as_tensor(index, dtype=torch.long)
        subject = tuple(self.subject[i] for i in index.tolist())
        index = index.to(self.present.device)
        return self._each(lambda value: value.index_select(0, index), subject)

    def to(self, device: torch.device) -> Data:
        """The same trials on another device."""
        return self if self.present.device == device else self._each(lambda v: v.to(device), self.subject)

    def prepared(self, network: nn.Module) -> Data:
        """With the fixed reduction of inputs that ``network.prepare`` makes, where it has one."""
        prepare = getattr(network, "prepare", None)
        return self if prepare is None else replace(self, inputs=prepare(self.inputs))

    def _each(self, change: Callable[[Tensor], Tensor], subject: tuple[str, ...]) -> Data:
        inputs = {m: {name: change(value) for name, value in block.items()} for m, block in self.inputs.items()}
        return Data(inputs, change(self.present), {name: change(y) for name, y in self.truth.items()}, subject)

    def only(self, modalities: Sequence[str]) -> Data:
        """The inputs of some modalities, in their order."""
        names = list(self.inputs)
        columns = [names.index(m) for m in modalities]
        return Data({m: self.inputs[m] for m in modalities}, self.present[:, columns], self.truth, self.subject)

    @property
    def nbytes(self) -> int:
        """Bytes that the tensors take."""
        return sum(tensor.nbytes for tensor in _flat(self).values())

    @property
    def known(self) -> dict[str, Tensor]:
        """Target -> bool (trial,), whether its truth is there."""
        return {name: torch.isfinite(v) if v.is_floating_point() else v >= 0 for name, v in self.truth.items()}

    @property
    def labelled(self) -> np.ndarray:
        """Trials (trial,) with truth for at least one target."""
        return torch.stack(list(self.known.values())).any(0).numpy()


def from_trials(trials: Trials) -> Data:
    """`Data` of all modalities; floats become float32, missing inputs 0, uint8 stays as it is."""
    inputs = {m: {name: _tensor(a.values) for name, a in block.data_vars.items()} for m, block in trials.inputs.items()}
    truth = {}
    for target in trials.targets:
        values = trials.truth[target.name].values
        kind = torch.float32 if target.kind == "continuous" else torch.long
        truth[target.name] = torch.as_tensor(np.ascontiguousarray(values)).to(kind)
    subject = tuple(str(s) for s in trials.unit.values)
    return Data(inputs, torch.as_tensor(trials.present.values.copy()), truth, subject)


def _tensor(values: np.ndarray) -> Tensor:
    if values.dtype == np.uint8:
        return torch.as_tensor(np.ascontiguousarray(values))
    return torch.as_tensor(np.nan_to_num(np.ascontiguousarray(values, dtype=np.float32)))


def describe(trials: Trials) -> dict[str, dict]:
    """Modality -> {"encoder", "shapes": {variable: shape of one trial}}: all that building a network needs."""
    return {
        m: {"encoder": block.attrs.get("encoder"), "shapes": {n: list(a.shape[1:]) for n, a in block.data_vars.items()}}
        for m, block in trials.inputs.items()
    }


def fingerprint(data: Data) -> str:
    """SHA-256 over every value of ``data``, with its names, types and shapes."""
    digest = hashlib.sha256(json.dumps(data.subject).encode())
    for name, tensor in sorted(_flat(data).items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy())
    return digest.hexdigest()


def save(data: Data, path: Path) -> Path:
    """Write ``data`` as one safetensors file.

    Raises
    ------
    InputError : if the disk is full or the folder cannot be written to.
    """
    names = {m: list(block) for m, block in data.inputs.items()}
    header = {"subject": json.dumps(data.subject), "inputs": json.dumps(names), "truth": json.dumps(list(data.truth))}
    flat = {name: t.contiguous() for name, t in _flat(data).items()}
    with writing(path):
        sweep(path.parent, older_s=3600)  # another process may be writing there
        with atomic(path) as temporary:
            save_file(flat, temporary, metadata=header)
    return path


def load(path: Path, modalities: Sequence[str]) -> Data:
    """Read the inputs of some modalities back; the others stay on disk."""
    with safe_open(path, framework="pt") as stream:
        header = stream.metadata()
        names = json.loads(header["inputs"])
        columns = [list(names).index(m) for m in modalities]
        return Data(
            {m: {name: stream.get_tensor(f"inputs/{m}/{name}") for name in names[m]} for m in modalities},
            stream.get_tensor("present")[:, columns],
            {name: stream.get_tensor(f"truth/{name}") for name in json.loads(header["truth"])},
            tuple(json.loads(header["subject"])),
        )


def _flat(data: Data) -> dict[str, Tensor]:
    flat = {f"inputs/{m}/{name}": v for m, block in data.inputs.items() for name, v in block.items()}
    return flat | {"present": data.present} | {f"truth/{name}": v for name, v in data.truth.items()}
