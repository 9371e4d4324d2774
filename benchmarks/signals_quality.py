"""What the discount of poor signals costs the fusion: a compiled gradient, and compiling it, with and without it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from pairs import Row, costs, fact

from bayesaffect.fusion import Priors, categorical, discount, statistics
from bayesaffect.fusion.engine.capture import capture
from bayesaffect.fusion.engine.compiled import Pointer, compiled
from bayesaffect.fusion.ratings import continuous
from bayesaffect.simulate import OpinionModel, simulate_opinions
from bayesaffect.types import Opinions, Target

TARGETS = (Target("valence", (1, 9)), Target("emotion", levels=tuple("abcdefghi")))
SIZES = {"8 x 12 trials": (8, 12), "27 x 20 trials": (27, 20)}
CALLS = 1000


def rows(repeats: int) -> Iterator[Row]:
    """Gradients per model and size of study, three modalities of which a tenth is missing, simulated."""
    for target in TARGETS:
        for size, (subjects, trials) in SIZES.items():
            model = OpinionModel(discount=0.5, missing=0.1)
            names = ("eeg", "face", "physio")
            opinions, _ = simulate_opinions(
                subjects=subjects, trials=trials, modalities=names, targets=(target,), seed=0, model=model
            )
            with tempfile.TemporaryDirectory() as folder:
                ours, own = _gradients(opinions, target, Path(folder) / "with")
                other, plain = _gradients(replace(opinions, quality=None), target, Path(folder) / "without")
                note = f"{CALLS} gradients of {target.kind} fusion, simulated opinions"
                yield costs(
                    f"gradient with quality, {target.name}, {size}", ours, other, most=2.5, repeats=repeats, note=note
                )
                yield fact(
                    f"compiling with quality, {target.name}, {size}",
                    own / plain,
                    goal="<= 2 x",
                    holds=own <= 2 * plain,
                    note=f"{own:.0f} s against {plain:.0f} s",
                )


def _gradients(opinions: Opinions, target: Target, cache: Path) -> tuple[Callable[[], None], float]:
    """A function that takes `CALLS` gradients of the compiled density, and the seconds its compilation took."""
    where = statistics.index(opinions, target.name)
    learnt = discount.learnable(opinions, where.used)
    poor = None if learnt is None else learnt[0]
    if target.kind == "continuous":
        module = continuous
        data = continuous.data(statistics.continuous(opinions, target.name, where, poor), Priors(), True)
    else:
        module = categorical
        sums = statistics.categorical(opinions, target.name, where, poor)
        data = categorical.data(sums, Priors(), discounted=poor is not None)
    density = capture(module.model, data)
    start = time.perf_counter()
    library = compiled(density, density.pack(data), target.name, cache)
    seconds = time.perf_counter() - start
    pointer = Pointer(library, density.ndim, density.pack(data), 1)
    z = np.random.default_rng(0).normal(0, 0.3, density.ndim)

    def take():
        for _ in range(CALLS):
            pointer(z)

    return take, seconds
