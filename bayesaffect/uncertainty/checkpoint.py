"""Checkpoints without pickles: one safetensors file, tensors in its body and the rest as JSON in its header."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bayesaffect.files import atomic

log = logging.getLogger(__name__)
NAMES = ("checkpoint.safetensors", "previous.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a loop after ``epoch`` epochs, beside the network's weights and the optimiser's moments.

    No state of a random generator is kept: the loop derives each epoch's numbers from its seed and number.
    """

    epoch: int
    history: list[dict]
    best_score: float
    best_epoch: int
    best: dict[str, Tensor]


def write(directory: Path, state: Checkpoint, network: nn.Module, optimiser: torch.optim.Optimizer):
    """Replace the checkpoint in ``directory``; the one before it is kept as ``previous.safetensors``."""
    tensors = {f"network/{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"best/{k}": v for k, v in state.best.items()}
    for index, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{k}": v for k, v in moments.items()}
    header = {"epoch": state.epoch, "history": state.history, "best": [state.best_score, state.best_epoch]}
    current, previous = (directory / name for name in NAMES)
    if current.exists():
        os.replace(current, previous)
    write_tensors(current, tensors, header)


def read(directory: Path, network: nn.Module, optimiser: torch.optim.Optimizer) -> Checkpoint | None:
    """Load the newest checkpoint that is whole into network and optimiser; ``None`` if there is none."""
    for name in NAMES:
        found = read_tensors(directory / name)
        if found is None:
            continue
        tensors, header = found
        try:
            network.load_state_dict(_under(tensors, "network/"))
            moments: dict[int, dict] = {}
            for place, tensor in _under(tensors, "optimiser/").items():
                index, kind = place.split("/")
                moments.setdefault(int(index), {})[kind] = tensor
            optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
        except (RuntimeError, ValueError) as error:
            log.warning("%s belongs to another network and is passed over: %s", directory / name, error)
            continue
        score, epoch = header["best"]
        return Checkpoint(header["epoch"], header["history"], score, epoch, _under(tensors, "best/"))
    return None


def clear(directory: Path):
    """Remove the checkpoints of a loop that has ended."""
    for name in NAMES:
        (directory / name).unlink(missing_ok=True)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: dict):
    """Write named tensors and a JSON header with a checksum over both, atomically."""
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    text = json.dumps(header)
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={"json": text, "sha256": _digest(tensors, text)})


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict] | None:
    """Tensors and header of a file by `write_tensors`; ``None``, with a line in the log, if it is damaged."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as stream:
            header = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}
        if header.get("sha256") != _digest(tensors, header.get("json", "")):
            raise ValueError("checksum differs")
        return tensors, json.loads(header["json"])
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        log.warning("%s is damaged and is passed over: %s", path, error)
        return None


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].numpy())
    return digest.hexdigest()


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
