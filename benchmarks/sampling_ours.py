"""Data of the sampling benchmarks, and our own runs: pilot, warm-up and draws, with the compiled density at hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import arviz as az
import numpy as np
import torch

from bayesaffect.fusion import Sampling, attempts, categorical, statistics
from bayesaffect.fusion.engine.sample import sample
from bayesaffect.fusion.ratings import continuous
from bayesaffect.fusion.settings import Priors
from bayesaffect.simulate.opinions import OpinionModel, simulate_opinions
from bayesaffect.types import Opinions, Target

CONTINUOUS, CATEGORICAL = Target("valence", bounds=(1, 9)), Target("emotion", levels=tuple("abcdef"))
SUBJECTS, TRIALS, MODALITIES = 27, 20, ("eeg", "face", "physio")
SAMPLING = Sampling(draws=1000, tune=500, chains=2, target_accept=0.9, pilot=100)
POPULATION = {
    "valence": ("mu", "sd_delta", "tau", "a", "b", "omega", "log_kappa", "sd_rho"),
    "emotion": ("w", "sd_delta", "sd_rho"),
}


def opinions(target: Target, seed: int, trials: int = TRIALS) -> Opinions:
    """27 people, three modalities, 15 % of the opinions missing."""
    model = OpinionModel(missing=0.15, correlation=0.3)
    return simulate_opinions(
        subjects=SUBJECTS, trials=trials, modalities=MODALITIES, targets=(target,), seed=seed, model=model
    )[0]


def data(some: Opinions) -> tuple[object, dict[str, np.ndarray]]:
    """The model's module and what its density reads."""
    target = some.targets[0]
    where = statistics.index(some, target.name)
    if target.kind == "continuous":
        return continuous, continuous.data(statistics.continuous(some, target.name, where), Priors(), True)
    return categorical, categorical.data(statistics.categorical(some, target.name, where), Priors())


def sampler(some: Opinions, cache: Path, sampling: Sampling = SAMPLING) -> Callable[[int], dict[str, np.ndarray]]:
    """A function of the seed that does what `fusion.fit` does up to the draws."""
    module, first = data(some)

    def run(seed: int) -> dict[str, np.ndarray]:
        short = replace(sampling, draws=sampling.pilot, tune=sampling.pilot)
        options = {"name": f"benchmark {module.__name__}", "seed": seed, "cache": cache}
        draws = sample(module.model, first, sampling=short, **options)
        again = module.recentred(attempts.constrained(draws, module, first, seed), first)
        draws = sample(module.model, again, sampling=sampling, **options)
        with torch.no_grad():
            values, _ = torch.vmap(draws.density.constrain)(torch.from_numpy(draws.z.reshape(-1, draws.z.shape[2])))
        return {name: v.reshape(*draws.z.shape[:2], *v.shape[1:]).numpy() for name, v in values.items()}

    return run


def quality(draws: Mapping[str, np.ndarray], names: tuple[str, ...]) -> tuple[float, float]:
    """Smallest bulk ESS and largest split R-hat over the population's parameters."""
    columns = [draws[n].reshape(*draws[n].shape[:2], -1)[..., k] for n in names for k in range(_size(draws[n]))]
    return min(float(az.ess(c)) for c in columns), max(float(az.rhat(c)) for c in columns)


def _size(values: np.ndarray) -> int:
    return int(np.prod(values.shape[2:], dtype=int))


def timed(run: Callable[[int], dict], seed: int, names: tuple[str, ...]) -> tuple[float, float, float, dict]:
    """Seconds, effective samples per second, R-hat and the draws of one run."""
    begin = time.perf_counter()
    draws = run(seed)
    seconds = time.perf_counter() - begin
    ess, rhat = quality(draws, names)
    return seconds, ess / seconds, rhat, {n: draws[n] for n in names}


def apart(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> float:
    """The largest difference of two runs' means, in Monte-Carlo errors of both together."""
    worst = 0.0
    for name in one:
        columns = [d[name].reshape(*d[name].shape[:2], -1) for d in (one, other)]
        for k in range(columns[0].shape[2]):
            error = sum(c[..., k].var() / float(az.ess(c[..., k])) for c in columns) ** 0.5
            worst = max(worst, abs(columns[0][..., k].mean() - columns[1][..., k].mean()) / error)
    return worst
