"""One posterior of several targets: whoever's face tells little of valence tells little of arousal and emotion, too.

Every target t keeps its model (`ratings.continuous`, `categorical`) and the prior of its parameters. What joins them is
the reliability of modality m for subject s: with z_smt = rho_smt / sd_rho_mt, turned so that a large z is a reliable
modality on every target (rho raises the errors of ratings and the weight of class probabilities),

    z_sm. ~ N(0, C_m),     C_m = (1 - c_m) I + c_m 1 1',     c_m ~ Uniform(0, 1).

c_m = 0 are separate models. Since each z_smt is N(0, 1) under any c, the density of the joint model is the product of
the separate ones times, per subject and modality, with T targets,

    N(z; 0, C) / N(z; 0, I) = |C|^-1/2 exp(-1/2 z' (C^-1 - I) z),
    |C| = (1 - c)^(T - 1) (1 + (T - 1) c),     C^-1 = (I - c / (1 + (T - 1) c) 1 1') / (1 - c).

The truths of one trial are not joined: what an opinion on arousal says of valence is left to opinions on valence.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.contrib.autoname import scope
from torch import Tensor

from bayesaffect.errors import InputError
from bayesaffect.fusion import categorical, discount, late, linalg
from bayesaffect.fusion.attempts import settled, source
from bayesaffect.fusion.checks.diagnostics import Gate, gate
from bayesaffect.fusion.ratings import continuous
from bayesaffect.fusion.settings import Model, Priors, Sampling
from bayesaffect.types import Opinions

COUPLED = "coupling"


def fit_joint(
    opinions: Opinions,
    *,
    targets: Sequence[str] = (),
    sampling: Sampling | None = None,
    priors: Priors | None = None,
    seed: int,
    held_out: Sequence[str] = (),
    cache: Path | None = None,
    model: Model | None = None,
) -> dict:
    """Target -> posterior, as `fit` returns it, of one model of all ``targets`` (by default all of the opinions').

    Each has ``coupling`` (modality), c of the module, besides. Parameters and errors as in `fit`; ratings with normal
    errors and partial pooling only.

    Raises
    ------
    InputError : fewer than two targets, another likelihood or pooling, and whatever `fit` refuses.
    """
    sampling, priors, model = sampling or Sampling(), priors or Priors(), model or Model()
    names = tuple(targets) or tuple(t.name for t in opinions.targets)
    if len(names) < 2:
        raise InputError("a joint model needs at least two targets", remedy="fit the one there is with `fit`")
    if model.likelihood != "normal" or model.pooling != "partial":
        raise InputError(
            f"a joint model of {model.likelihood} errors with {model.pooling} pooling is not built",
            remedy="choose normal errors and partial pooling, or fit the targets one by one",
        )
    parts, data = {}, {"prior_coupling": np.ones(2)}
    for name in names:
        own = model if opinions.target(name).kind == "continuous" else None
        parts[name] = late.prepared(opinions, name, priors=priors, model=own, held_out=held_out)
        data |= {f"{name}/{key}": value for key, value in parts[name].data.items()}
    joint = Joint(tuple((name, parts[name].module) for name in names))

    def label(draws, values, refused):
        fits = {}
        for name in names:
            mine = of_target(values, name) | {COUPLED: values[COUPLED]}
            options = {"sampling": sampling, "seed": seed, "refused": refused}
            fits[name] = late.labelled(draws, mine, opinions, parts[name], **options)
        return fits

    modules = sorted({part.module for part in parts.values()}, key=lambda m: m.__name__)
    kinds = "".join(part.module.__name__.rpartition(".")[2][0] for part in parts.values())
    called = f"joint {kinds}:{source(*modules, linalg, discount, sys.modules[__name__])}"
    return settled(joint, data, label, name=called, sampling=sampling, seed=seed, cache=cache, judge=_judge)


def _judge(fits: Mapping) -> Gate:
    """The gate of all targets together."""
    verdicts = {name: gate(fit) for name, fit in fits.items()}
    failures = tuple(f"{name}: {sentence}" for name, v in verdicts.items() for sentence in v.failures)
    table = pd.concat({name: v.table for name, v in verdicts.items()})
    return Gate(all(v.passed for v in verdicts.values()), failures, table)


@dataclass(frozen=True)
class Joint:
    """The three functions that `settled` asks of a model's module, for targets (name, module) in their order."""

    parts: tuple[tuple[str, ModuleType], ...]

    def model(self, data: Mapping[str, Tensor]) -> None:
        """The Pyro model of the module's equations."""
        z = []
        for name, module in self.parts:
            own = of_target(data, name)
            trace = poutine.trace(scope(module.model, prefix=name)).get_trace(own)
            values = {n: site["value"] for n, site in trace.nodes.items() if site["type"] == "sample"}
            z.append(reliability(module, of_target(values, name), own))
        first, second = (data["prior_coupling"][k].expand((z[0].shape[1],)) for k in (0, 1))
        c = pyro.sample(COUPLED, dist.Beta(first, second).to_event(1))
        pyro.factor("coupled", coupling_term(torch.stack(z, -1), c).sum())

    def effects(self, values: Mapping[str, Tensor], data: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> dict:
        """One draw's quantities that people read, of every target, under ``<target>/<name>``."""
        found = {COUPLED: values[COUPLED]}
        for k, (name, module) in enumerate(self.parts):
            # another person's noise: what is drawn for two targets of one person must be independent
            own = {n: torch.roll(v, k, 0) for n, v in noise.items()}
            read = module.effects(of_target(values, name), of_target(data, name), own)
            found |= {f"{name}/{n}": v for n, v in read.items()}
        return found

    def recentred(self, values: Mapping[str, np.ndarray], data: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The data with every target's centring learned from draws."""
        changed = dict(data)
        for name, module in self.parts:
            learned = module.recentred(of_target(values, name), of_target(data, name))
            changed |= {f"{name}/{n}": v for n, v in learned.items()}
        return changed


def of_target(arrays: Mapping, name: str) -> dict:
    """What is called ``<name>/...``, under the rest of its name."""
    return {key.removeprefix(f"{name}/"): v for key, v in arrays.items() if key.startswith(f"{name}/")}


def reliability(module: ModuleType, values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> Tensor:
    """z (S, M) of one target: how reliable a modality is for a subject, in standard deviations of its population."""
    if module is categorical:
        return (categorical.subject_level(values, data)[1] - torch.log(values["w"])) / values["sd_rho"]
    return (values["log_kappa"] - continuous.log_k(values, data)) / values["sd_rho"]


def coupling_term(z: Tensor, c: Tensor) -> Tensor:
    """log N(z; 0, C_m) - log N(z; 0, I) of z (S, M, T) under c (M,): (S, M)."""
    t = z.shape[-1]
    rest, whole = 1 - c, 1 + (t - 1) * c
    square, total = (z * z).sum(-1), z.sum(-1)
    log_det = (t - 1) * torch.log(rest) + torch.log(whole)
    return -0.5 * (log_det + (square - c / whole * total * total) / rest - square)
