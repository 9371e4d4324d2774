"""Checkpoints without pickles: one safetensors file, tensors in its body and the rest as JSON in its header."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from bayesaffect.errors import InputError
from bayesaffect.files import atomic

log = logging.getLogger(__name__)
NAMES = ("checkpoint.safetensors", "previous.safetensors")
LEFT_OVER = re.compile(r"\.(.+\.[0-9a-f]{8}(\.\w+)?|tmp\w{6})")  # of our own naming, and of safetensors'


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
    """Replace the checkpoint in ``directory``; the one before it is kept as ``previous.safetensors``.

    A process that is killed between the two leaves the older one alone, and one epoch to repeat. The best weights
    are left out where they are the present ones.
    """
    tensors = {f"network/{k}": v for k, v in network.state_dict().items()}
    if state.best_epoch != state.epoch:
        tensors |= {f"best/{k}": v for k, v in state.best.items()}
    for index, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{k}": v for k, v in moments.items()}
    header = {"epoch": state.epoch, "history": state.history, "best": [state.best_score, state.best_epoch]}
    tensors, header["layout"] = _packed(tensors)
    current, previous = (directory / name for name in NAMES)
    with writing(directory), contextlib.suppress(FileNotFoundError):  # none yet
        if current.exists():
            previous.unlink(missing_ok=True)  # a rename onto a file waits for the disk
            os.replace(current, previous)
    write_tensors(current, tensors, header)


def read(directory: Path, network: nn.Module, optimiser: torch.optim.Optimizer) -> Checkpoint | None:
    """Load the newest checkpoint that is whole into network and optimiser; ``None`` if there is none.

    Those that cannot be used are removed, lest the next one that is written takes the place of a good one.
    """
    for name in NAMES:
        path = directory / name
        found = read_tensors(path)
        try:
            if found is not None:
                return _load(*found, network, optimiser)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            log.warning("%s belongs to another network and is passed over: %s", path, error)
        path.unlink(missing_ok=True)
    return None


def _load(
    tensors: Mapping[str, Tensor], header: dict, network: nn.Module, optimiser: torch.optim.Optimizer
) -> Checkpoint:
    """Put a checkpoint into network and optimiser, both untouched if it does not fit."""
    tensors = _unpacked(tensors, header["layout"])
    weights = _under(tensors, "network/")
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    if {name: tensor.shape for name, tensor in weights.items()} != shapes:
        raise ValueError("names or shapes of its weights differ")
    score, epoch = header["best"]
    best = weights if epoch == header["epoch"] else _under(tensors, "best/")
    state = Checkpoint(header["epoch"], header["history"], score, epoch, best)
    moments: dict[int, dict] = {}
    for place, tensor in _under(tensors, "optimiser/").items():
        index, kind = place.split("/")
        moments.setdefault(int(index), {})[kind] = tensor
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    network.load_state_dict(weights)
    return state


def clear(directory: Path):
    """Remove the checkpoints of a loop that has ended."""
    for name in NAMES:
        (directory / name).unlink(missing_ok=True)


def sweep(directory: Path, *, older_s: float = 0.0):
    """Remove what a killed `bayesaffect.files.atomic`, or safetensors inside it, left half-written in ``directory``.

    Only what is at least ``older_s`` seconds old.

    Without ``older_s`` for a folder that this process alone writes to.
    """
    for path in directory.glob(".*"):
        with contextlib.suppress(FileNotFoundError):
            if LEFT_OVER.fullmatch(path.name) and time.time() - path.stat().st_mtime >= older_s:
                path.unlink()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """A full disk or a folder that cannot be written to, met inside the block, as one sentence about ``path``."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        remedy = "make room or permit writing there; the same command then goes on with what is finished"
        raise InputError(f"cannot be written ({reason})", where=path, remedy=remedy) from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: dict):
    """Write named tensors, from whatever device, and a JSON header with a checksum over both, atomically.

    Raises
    ------
    InputError : if the disk is full or the folder cannot be written to; an older file stays as it was.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(header)
    with writing(path), atomic(path) as temporary:
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


def _packed(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list]:
    """One flat tensor per type, and the [name, type, shape] of its parts in order: writing many small ones is slow."""
    layout = [[name, str(tensor.dtype), list(tensor.shape)] for name, tensor in tensors.items()]
    parts: dict[str, list[Tensor]] = {}
    for (_, kind, _), tensor in zip(layout, tensors.values(), strict=True):
        parts.setdefault(kind, []).append(tensor.detach().reshape(-1).cpu())
    return {kind: torch.cat(some) for kind, some in parts.items()}, layout


def _unpacked(packed: Mapping[str, Tensor], layout: list) -> dict[str, Tensor]:
    """The tensors that `_packed` was given."""
    parts = {}
    for kind, flat in packed.items():
        mine = [(name, shape) for name, other, shape in layout if other == kind]
        pieces = flat.split([math.prod(shape) for _, shape in mine])
        parts |= {name: piece.reshape(shape) for (name, shape), piece in zip(mine, pieces, strict=True)}
    return {name: parts[name] for name, _, _ in layout}


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
