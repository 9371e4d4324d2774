"""One task of a cross-fit: train one member of one network on one fit's subjects and predict who was held out."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bayesaffect.errors import InputError
from bayesaffect.files import claim, key, write_json
from bayesaffect.types import Target
from bayesaffect.uncertainty import checkpoint, data, draws, watch
from bayesaffect.uncertainty.device import resolve
from bayesaffect.uncertainty.ensemble import Ensemble
from bayesaffect.uncertainty.training import Training, derived_seed, train

log = logging.getLogger(__name__)
FORMAT = 2
CLAIMS = "claims.lock"
MADE, THERE, BUSY = "made", "there", "busy"
WEIGHTS = "weights.safetensors"
_one_at_a_time = threading.Lock()  # torch's generator and number of threads belong to the whole process


@dataclass(frozen=True)
class Task:
    """All that determines one member's weights and draws.

    ``train``, ``validation`` and ``test`` are positions of trials; ``held_out`` the subjects of the fit's
    held-out groups. The initial weights depend on ``seed``, the modalities and ``member`` only, so that the
    same member of different fits starts at the same point and its embeddings stay comparable.
    """

    name: str
    modalities: tuple[str, ...]
    member: int
    held_out: tuple[str, ...]
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    inputs: str
    settings: Training
    ensemble: Ensemble
    seed: int

    @functools.cached_property
    def key(self) -> str:
        """Name of the task's folder: equal for equal weights. What only the draws need is in their file's name."""
        positions = [rows.tolist() for rows in (self.train, self.validation, self.test)]
        who = (self.modalities, self.member, self.held_out)
        return key(FORMAT, who, positions, self.inputs, asdict(self.settings), self.seed)

    @property
    def draws(self) -> str:
        """Name of the file of draws: one per way of drawing from the same weights."""
        drawn = {k: v for k, v in asdict(self.ensemble).items() if k not in ("members", "recalibrate")}
        return f"draws-{'-'.join(str(v) for v in drawn.values())}.safetensors"


@dataclass(frozen=True)
class Place:
    """Where tasks find their inputs and leave their results, and how networks are built, trained and watched."""

    directory: Path
    inputs: Path
    spec: Mapping[str, Mapping]
    targets: tuple[Target, ...]
    build: Callable[..., nn.Module]
    device: str = "cpu"
    tensorboard: bool = False

    def folder(self, task: Task) -> Path:
        return self.directory / task.key

    def draws(self, task: Task) -> Path:
        return self.folder(task) / task.draws


def build_network(place: Place, task: Task) -> nn.Module:
    """The task's network with its initial weights."""
    seed = derived_seed(task.seed, "initial weights", task.modalities, task.member)
    return place.build(place.spec, task.modalities, place.targets, dropout=task.settings.dropout, seed=seed)


def read(place: Place, task: Task) -> tuple[dict[str, Tensor], dict] | None:
    """Draws of a task that has ended, ``test/...`` and ``validation/...``, and their description.

    The description's ``seen`` lists the subjects whose labels the network has met. ``None`` if the task has to
    be run: a file that is damaged, or that another task has written, is passed over with a line in the log.
    """
    found = _own(place.draws(task), task)
    return None if found is None or found[1]["draws"] != task.draws else found


def finished(place: Place, task: Task) -> dict[str, Tensor] | None:
    """The draws of a task that has ended; ``None`` if it has to be run."""
    found = read(place, task)
    return None if found is None else found[0]


def run(place: Place, task: Task, *, wait: bool = True) -> str:
    """Train (or go on training) the member, write ``weights.safetensors`` and its draws.

    Weights that are there already are used as they are. One process at a time has a task in hand, whoever
    started it: with ``wait`` the others wait for its end, else they return at once. Returns ``MADE``, ``THERE``
    if there was nothing to do, or ``BUSY`` if another process has it in hand.

    Raises
    ------
    InputError : when the task would learn from a subject that it is to predict, or its inputs are gone.
    """
    with _one_at_a_time, claim(place.directory / CLAIMS, task.key, wait=wait) as mine:
        if not mine:
            return BUSY
        if read(place, task) is not None:
            return THERE
        with checkpoint.writing(place.folder(task)):
            place.folder(task).mkdir(parents=True, exist_ok=True)
        checkpoint.sweep(place.folder(task))
        with one_thread():
            _run(place, task)
    return MADE


def _run(place: Place, task: Task):
    """Train and draw; the folder is this process's alone."""
    folder = place.folder(task)
    trials = _load(place.inputs, task.modalities)
    seen = seen_subjects(task, trials.subject)
    training_data, validation = trials.rows(task.train), trials.rows(task.validation)
    begun = {"started": time.time(), "pid": os.getpid(), "device": resolve(place.device)}
    description = _description(task, seen)
    network = build_network(place, task)
    stored = _own(folder / WEIGHTS, task)
    if stored is not None:
        network.load_state_dict(stored[0])
    else:
        fresh = not any((folder / name).exists() for name in checkpoint.NAMES)
        _note(folder / "task.json", description | begun)
        seed = derived_seed(task.seed, "training", task.modalities, task.held_out, task.member)
        with _curves(place, folder) as after_epoch:
            train(
                network, training_data, validation, settings=task.settings, seed=seed, directory=folder,
                after_epoch=after_epoch, device=resolve(place.device),
            )  # fmt: skip
        checkpoint.write_tensors(folder / WEIGHTS, network.cpu().state_dict(), description)
        checkpoint.clear(folder)
        if fresh:  # the time of a run that was interrupted tells nothing
            begun["seconds"] = round(time.time() - begun["started"], 3)
        _note(folder / "task.json", description | begun)
    drawn = {}
    for label, rows in (("test", trials.rows(task.test)), ("validation", validation)):
        if len(rows):
            seed = derived_seed(task.seed, "passes", task.modalities, task.held_out, task.member, label)
            found = draw(place, task, network, training_data=training_data, rows=rows, seed=seed)
            drawn |= {f"{label}/{name}": value for name, value in found.items()}
    checkpoint.write_tensors(place.draws(task), drawn, description)


def draw(
    place: Place, task: Task, network: nn.Module, *, training_data: data.Data, rows: data.Data, seed: int
) -> dict[str, Tensor]:
    """Draws of a trained network for some trials, by the method of the task's ensemble.

    What the method takes from the training trials is kept beside the weights, so that later trials can be predicted.
    """
    state, path = {}, place.folder(task) / f"{task.ensemble.method}.safetensors"
    stored = _own(path, task)
    if stored is not None:
        state = stored[0]
    elif state := draws.fit(network, training_data, ensemble=task.ensemble):
        checkpoint.write_tensors(path, state, _description(task, ()))
    return draws.sample(network, state, rows, ensemble=task.ensemble, seed=seed, device=resolve(place.device))


def seen_subjects(task: Task, subject: tuple[str, ...]) -> tuple[str, ...]:
    """Subjects whose labels the task's network meets, to learn from or to stop by, in sorted order.

    Raises
    ------
    InputError : when one of them is held out or predicted, or learnt from and used for validation.
    """
    train_on, validation, test = (
        {subject[i] for i in rows.tolist()} for rows in (task.train, task.validation, task.test)
    )
    leaked = sorted((train_on | validation) & (test | set(task.held_out)))
    leaked = leaked or sorted(train_on & validation) or sorted(test - set(task.held_out))
    if leaked:
        raise InputError(
            f"member {task.member} of network {task.name!r} would see subjects {leaked} in two roles",
            remedy="training, validation and held-out subjects have to be disjoint",
        )
    return tuple(sorted(train_on | validation))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside the block: sums, and so results, do not depend on the machine's cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _curves(place: Place, folder: Path) -> contextlib.AbstractContextManager:
    """A callback that adds losses to TensorBoard, or ``None``."""
    return watch.tensorboard(folder / "tensorboard") if place.tensorboard else contextlib.nullcontext()


def _description(task: Task, seen: tuple[str, ...]) -> dict:
    return {
        "key": task.key,
        "draws": task.draws,
        "network": task.name,
        "modalities": list(task.modalities),
        "member": task.member,
        "held_out": list(task.held_out),
        "seen": list(seen),
        "ensemble": asdict(task.ensemble),
        "seed": task.seed,
        "training": asdict(task.settings),
    }


def _note(path: Path, value: dict):
    with checkpoint.writing(path):
        write_json(path, value)


def _own(path: Path, task: Task) -> tuple[dict[str, Tensor], dict] | None:
    """Tensors and description of a file that this task, and no other, has written."""
    found = checkpoint.read_tensors(path)
    if found is not None and found[1].get("key") != task.key:
        log.warning("%s was written for task %s and is passed over", path, found[1].get("key"))
        return None
    return found


@functools.lru_cache(maxsize=2)
def _load(path: Path, modalities: tuple[str, ...]) -> data.Data:
    try:
        return data.load(path, modalities)
    except FileNotFoundError:
        raise InputError(
            "the inputs of the networks are not there",
            where=path,
            remedy="start training again; workers on other machines need the workspace on a shared file system",
        ) from None


def forget():
    """Let go of the inputs that this process keeps between tasks."""
    _load.cache_clear()
