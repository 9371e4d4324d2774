"""Effective samples per second against NumPyro, cost of a gradient, latency of a prediction:
``python benchmarks/sampling.py [PART ...]``.

``--repeats`` is the number of seeds, each its own data; the samplers take turns within a seed. Effective samples are
the smallest bulk ESS over the population's parameters; warm-up and pilot are in the time, compilation is not (it is
reported apart). Only seeds where both have R-hat < 1.01 count. Both have the same number of chains, draws and warm-up
iterations; else NumPyro has its default settings, ours those of `sampling_ours`. How far their posterior means are
apart, in Monte-Carlo errors, is in the notes: they sample the same posterior.
"""

from __future__ import annotations

import importlib.util
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pairs
import sampling_ours as ours
import torch
from pairs import Row, fact

from bayesaffect import fusion
from bayesaffect.fusion.engine.capture import capture
from bayesaffect.fusion.engine.compiled import Pointer, compiled

RHAT, CHAINS = 1.01, ours.SAMPLING.chains
CACHE = Path(tempfile.gettempdir()) / "bayesaffect-benchmark"


def continuous(repeats: int) -> Iterator[Row]:
    """27 subjects x 20 trials x 3 modalities, NumPyro in its plain form and on our marginal density."""
    yield from _against(repeats, ours.CONTINUOUS, {"plain": 5.0, "marginal": 2.0})


def categorical(repeats: int) -> Iterator[Row]:
    """27 subjects x 20 trials x 3 modalities x 6 classes."""
    yield from _against(repeats, ours.CATEGORICAL, {"plain": 3.0})


def _against(repeats: int, target, goals: dict[str, float]) -> Iterator[Row]:
    if importlib.util.find_spec("numpyro") is None:
        yield fact("sampling: numpyro", math.nan, goal="installed", holds=True, note="not installed")
        return
    import sampling_peer as peer

    peer.prepare(CHAINS)
    names = ours.POPULATION[target.name]
    runs: dict[str, list[tuple[float, float, float, dict]]] = {name: [] for name in ("ours", *goals)}
    compiling = dict.fromkeys(runs, 0.0)
    for seed in range(repeats):
        some = ours.opinions(target, seed)
        samplers = {"ours": ours.sampler(some, CACHE)}
        for name in goals:
            if name == "marginal":
                model, arguments = peer.marginal_continuous(ours.data(some)[1])
            else:
                plain = peer.plain_continuous if target.kind == "continuous" else peer.plain_categorical
                model, arguments = plain(some, target.name)
            settings = {"draws": ours.SAMPLING.draws, "tune": ours.SAMPLING.tune, "chains": CHAINS}
            samplers[name] = peer.sampler(model, arguments, **settings)
        for name, run in samplers.items():  # whatever is compiled is compiled now
            begin = time.perf_counter()
            run(1000 + seed)
            compiling[name] = max(compiling[name], time.perf_counter() - begin)
        for name, run in samplers.items():
            runs[name].append(ours.timed(run, seed, names))
    for name, least in goals.items():
        both = [(a, b) for a, b in zip(runs["ours"], runs[name], strict=True) if max(a[2], b[2]) < RHAT]
        yield _row(f"{target.kind}: ESS/s against NumPyro, {name}", both, runs, name, least, compiling)


def _row(title: str, both, runs, name: str, least: float, compiling: dict[str, float]) -> Row:
    worst = max(r[2] for r in runs["ours"])
    if not both:
        return fact(title, math.nan, goal=f">= {least:g} x", holds=False, note="no seed where both converged")
    seconds = [statistics.median(side[0] for side in sides) for sides in zip(*both, strict=True)]
    rates = [statistics.median(side[1] for side in sides) for sides in zip(*both, strict=True)]
    ratios = [a[1] / b[1] for a, b in both]
    gap = max(ours.apart(a[3], b[3]) for a, b in both)
    note = (
        f"ESS/s {rates[0]:.0f} and {rates[1]:.0f}, ratios {min(ratios):.1f}-{max(ratios):.1f}, {len(both)} of "
        f"{len(runs['ours'])} seeds, R-hat of ours {worst:.3f}, means {gap:.1f} errors apart, first runs "
        f"{compiling['ours']:.0f} and {compiling[name]:.0f} s"
    )
    ratio = statistics.median(ratios)
    return Row(title, *seconds, ratio, f">= {least:g} x", ratio >= least, note)


def large(repeats: int) -> Iterator[Row]:
    """The gate and the rate at 540, 5,400 and 54,000 trials."""
    names = ours.POPULATION["valence"]
    for trials in (20, 200, 2000):
        rates, failures = [], []
        for seed in range(repeats):
            some = ours.opinions(ours.CONTINUOUS, seed, trials)
            run = ours.sampler(some, CACHE)
            run(1000)
            rates.append(ours.timed(run, seed, names)[1])
            verdict = fusion.gate(fusion.fit(some, "valence", seed=seed, cache=CACHE))
            failures += verdict.failures
        count = trials * ours.SUBJECTS
        holds, goal = (not failures, "gate passed") if trials < 2000 else (
            not failures and statistics.median(rates) >= 500, "gate passed, >= 500 ESS/s")  # fmt: skip
        note = f"{len(failures)} failures {failures[:1] or ''}"
        yield fact(f"continuous: ESS/s at {count} trials", statistics.median(rates), goal=goal, holds=holds, note=note)


def gradient(repeats: int) -> Iterator[Row]:
    """Value and gradient of the compiled density at 54,000 trials over 540."""
    calls = [_gradient(ours.opinions(ours.CONTINUOUS, 0, trials)) for trials in (2000, 20)]
    yield pairs.costs("continuous: 5,000 gradients, 54,000 trials over 540", *calls, most=1.2, repeats=max(repeats, 5))


def _gradient(some) -> Callable[[], None]:
    module, data = ours.data(some)
    density = capture(module.model, data)
    flat = density.pack(data)
    pointer = Pointer(compiled(density, flat, f"benchmark {module.__name__}", CACHE), density.ndim, flat, 1)
    z = np.random.default_rng(0).normal(0, 0.3, density.ndim)

    def work():
        for _ in range(5000):
            pointer(z)

    return work


def predict(repeats: int) -> Iterator[Row]:
    """Latency of one new trial and of 10,000, with 1,000 draws."""
    fitted = {}
    for target in (ours.CONTINUOUS, ours.CATEGORICAL):
        sampling = replace(ours.SAMPLING, attempts=1)
        fitted[target] = fusion.fit(ours.opinions(target, 0), target.name, sampling=sampling, seed=0, cache=CACHE)
    for target, posterior in fitted.items():
        many = ours.opinions(target, 1, 371).select(np.arange(10_000))
        for count, most in ((1, 0.020), (10_000, 2.0)):
            some = many.select(np.arange(count))
            seconds = []
            for _ in range(max(repeats, 5) + 1):
                begin = time.perf_counter()
                fusion.predict(posterior, some, target=target.name, seed=0)
                seconds.append(time.perf_counter() - begin)
            found = statistics.median(seconds[1:])
            title = f"{target.kind}: seconds to predict {count} trial{'s' * (count > 1)}"
            yield fact(title, found, goal=f"<= {most:g} s", holds=found <= most)


PARTS = {
    "continuous": continuous,
    "categorical": categorical,
    "large": large,
    "gradient": gradient,
    "predict": predict,
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(pairs.main(PARTS, __doc__))
