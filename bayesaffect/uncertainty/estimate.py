"""What a plan will cost: from the trainings that have ended here, or from two epochs of every network."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bayesaffect.uncertainty import member, status
from bayesaffect.uncertainty.device import resolve
from bayesaffect.uncertainty.member import Task
from bayesaffect.uncertainty.training import train
from bayesaffect.uncertainty.work import Work


@dataclass(frozen=True)
class Cost:
    """One training of one network: seconds at least and at most, bytes that it leaves, and how that is known.

    ``timed`` is False where the numbers are means over trainings that have ended.
    """

    seconds: tuple[float, float]
    bytes: int
    timed: bool


def costs(work: Work) -> dict[str, Cost]:
    """Network -> cost of one of its trainings.

    Where trainings with these settings have ended, their mean seconds; else two epochs of the first task are run
    without leaving anything: at least ``patience`` epochs follow, at most ``epochs``.
    """
    tasks = {}
    for task in work.all():
        tasks.setdefault(task.name, []).append(task)
    listed = [{"key": task.key, "network": task.name} for task in work.all()]
    seconds = status.mean_seconds(work.place.directory, listed)
    found = {}
    for name, some in tasks.items():
        ended = [folder for task in some if (folder := work.place.folder(task)).joinpath(task.draws).is_file()]
        if name in seconds and ended:
            found[name] = Cost((seconds[name], seconds[name]), _size(ended), timed=False)
        else:
            if not any(cost.timed for cost in found.values()):
                _timed(work, some[0])  # a process's first steps are slow
            found[name] = _timed(work, some[0])
    return found


def total(waiting: Mapping[str, int], each: Mapping[str, Cost], *, processes: int) -> tuple[float, float]:
    """Seconds at least and at most until all ``waiting`` tasks (network -> number) have ended.

    sum_n waiting_n seconds_n / processes, and not less than one training of the slowest network that waits.
    """

    def bound(k: int) -> float:
        seconds = {name: each[name].seconds[k] for name, count in waiting.items() if count}
        spread = sum(waiting[name] * s for name, s in seconds.items()) / processes
        return max([spread, *seconds.values()], default=0.0)

    return bound(0), bound(1)


def _timed(work: Work, task: Task) -> Cost:
    """Seconds of ``task`` from two epochs, and the size of what it would leave."""
    settings, stamps = task.settings, [time.perf_counter()]
    data = work.inputs.only(task.modalities)
    training_data, validation, test = (data.rows(rows) for rows in (task.train, task.validation, task.test))
    with member.one_thread(), tempfile.TemporaryDirectory() as directory:
        place = replace(work.place, directory=Path(directory))
        network = member.build_network(place, task)
        train(
            network, training_data, validation, settings=replace(settings, epochs=2, patience=2), seed=0,
            directory=Path(directory), device=resolve(work.place.device),
            after_epoch=lambda *_: stamps.append(time.perf_counter()),
        )  # fmt: skip
        weights = sum(t.nbytes for t in network.state_dict().values())
        trained = time.perf_counter()
        drawn = [
            member.draw(place, task, network.cpu(), training_data=training_data, rows=rows, seed=0)
            for rows in (test, validation)
            if len(rows)
        ]
    epoch = stamps[2] - stamps[1] if len(stamps) > 2 else trained - stamps[0]
    fixed = time.perf_counter() - trained + max(0.0, stamps[min(1, len(stamps) - 1)] - stamps[0] - epoch)
    low, high = (fixed + epochs * epoch for epochs in (min(settings.patience, settings.epochs), settings.epochs))
    size = weights + sum(t.nbytes for draws in drawn for t in draws.values() if isinstance(t, torch.Tensor))
    return Cost((low, high), size, timed=True)


def _size(folders: list[Path]) -> int:
    sizes = [sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) for folder in folders]
    return round(sum(sizes) / len(sizes))
