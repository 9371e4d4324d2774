"""Falling back to the prior for inputs unlike those trained on: an outlier model of what the network is given.

A network's embedding can map what is strange onto what is usual, and its inputs are clipped; so the distance is taken
on a description of the inputs themselves, which nothing has been trained to ignore (cf. Mukhoti et al. 2023 on why
feature space alone collapses; Lee et al. 2018 for the Mahalanobis distance as a detector).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from scipy.stats import t as student
from sklearn.covariance import ledoit_wolf_shrinkage
from torch import Tensor, nn

from bayesaffect.uncertainty import dropout
from bayesaffect.uncertainty.data import Data

RANK = 64
FOREIGN = 0.01  # how often an input is foreign, before it is looked at
REACH = 20.0  # how far out, in spreads, a foreign input may lie
LIMIT = 6.0  # of one standardised column: no single one decides alone
FRAMES = ("crops", "units")  # variables whose frames are the second axis; of others, time is the last
CHUNK = 64
QUARTILE = 0.6745  # of the standard normal
SPREAD = 0.05  # smallest spread, as a share of the centre, or of 1: people differ more than those at hand may show


def describe(block: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What each variable of a block looks like, without any learning: variable -> (trial, column), float64.

    A table (trial, feature) as it is. Of a course over time, each entry's mean, log standard deviation, and log mean
    absolute change from one sample to the next; so that a flat or a noisy signal differs from a usual one even where
    its mean does not. Of pictures (trial, frame, row, column) their contrast (log sd over pixels, mean over visible
    frames), detail (log mean absolute difference of neighbouring pixels), movement (log mean absolute change
    between visible frames) and stillness (log of the change that a quarter of them stay below).

    What is known not to be there is no reason for doubt: ``visible`` (trial, frame) is not described, and the columns
    of an entry that is 0 all the time, as extraction fills what it could not use, are NaN, unless all entries are 0.
    """
    found = {}
    for name, values in block.items():
        if name == "crops":
            seen = block["visible"] if "visible" in block else torch.ones(values.shape[:2])
            some = zip(values.split(CHUNK), seen.split(CHUNK), strict=True)
            found[name] = torch.cat([_pictures(*part) for part in some])
            continue
        if name == "visible":
            continue
        values = values.double()
        if name in FRAMES:
            values = values.movedim(1, -1)
        if values.ndim == 2:
            found[name] = values
        else:
            course = values.flatten(1, -2)
            change = course.diff(dim=-1).abs().mean(-1)
            filled = (course == 0).all(-1)
            filled = (filled & ~filled.all(1, keepdim=True)).repeat(1, 3)
            columns = torch.cat([course.mean(-1), _log(course.std(-1, correction=0)), _log(change)], dim=1)
            found[name] = columns.masked_fill(filled, torch.nan)
    return found


def _log(values: Tensor) -> Tensor:
    return (values + 1e-2).log()


def _pictures(crops: Tensor, visible: Tensor) -> Tensor:
    """Contrast, detail, movement and stillness (trial, 4) of pictures, over the frames that are visible."""
    crops, seen = crops.float(), visible > 0
    weight = seen.float() / seen.sum(1, keepdim=True).clamp(min=1)
    contrast = (crops.flatten(2).std(-1) + 1).log()
    detail = (crops.diff(dim=2).abs().mean((2, 3)) + crops.diff(dim=3).abs().mean((2, 3)) + 1).log()
    both = seen[:, 1:] & seen[:, :-1]
    change = crops.diff(dim=1).abs().mean((2, 3))
    movement = ((change * both).sum(1) / both.sum(1).clamp(min=1) + 1).log()
    still = torch.where(both, change, torch.nan).nanquantile(0.25, dim=1).nan_to_num()
    stillness = (still + 1).log()
    return torch.stack([(contrast * weight).sum(1), (detail * weight).sum(1), movement, stillness], dim=1).double()


def learn(columns: Tensor) -> dict[str, Tensor]:
    """Location, scale and a shrunk covariance of the columns (trial, column) of some trials.

    The covariance of the standardised columns is shrunk towards mu I by Ledoit & Wolf's (2004) intensity; beyond the
    64 largest, its eigenvalues are replaced by their mean. NaN counts as the mean. A column that does not vary among
    the trials, such as a flag that is always set, gives no scale to measure by: its scale is infinite.
    """
    location = columns.nanmean(0).nan_to_num()
    scale = (columns - location).square().nanmean(0).sqrt().nan_to_num()
    scale = torch.where(scale > 1e-6, scale, torch.inf)
    z = ((columns - location) / scale).nan_to_num().numpy()
    varied = torch.isfinite(scale).numpy()
    n, width = len(z), max(int(varied.sum()), 1)
    rho = float(ledoit_wolf_shrinkage(z[:, varied], assume_centered=True)) if n > 1 and varied.any() else 1.0
    _, singular, basis = np.linalg.svd(z, full_matrices=False)
    values = singular**2 / n
    mu = max(float((z**2).sum()) / (n * width), 1e-6)
    rank = min(RANK, len(values))
    left = (values[rank:].sum()) / max(width - rank, 1)
    return {
        "location": location,
        "scale": scale,
        "basis": torch.as_tensor(basis[:rank].T.copy()),
        "values": torch.as_tensor((1 - rho) * values[:rank] + rho * mu),
        "rest": torch.tensor(max((1 - rho) * left + rho * mu, 1e-6)).double(),
    }


def squared(columns: Tensor, learnt: Mapping[str, Tensor]) -> Tensor:
    """D^2 = z^T C^-1 z / p (trial,) of p standardised columns z, clipped at +-6, under the covariance C of `learn`.

    Columns that are NaN, or have no scale, have z = 0 and do not count in p.
    """
    z = (columns - learnt["location"]) / learnt["scale"]
    count = (torch.isfinite(z) & torch.isfinite(learnt["scale"])).sum(1).clamp(min=1)
    z = z.nan_to_num().clamp(-LIMIT, LIMIT)
    along = z @ learnt["basis"]
    rest = (z**2).sum(1) - (along**2).sum(1)
    return ((along**2 / learnt["values"].clamp(min=1e-6)).sum(1) + rest.clamp(min=0) / learnt["rest"]) / count


def probability(root: Tensor, centre: float, spread: float, subjects: int) -> Tensor:
    """Probability that an input is foreign, given x = (D^2)^(1/3).

    With z = (x - centre) / spread, pi = e / (e + (1 - e) 20 f(z)), e = 0.01: usual inputs have Student's density f
    with as many degrees of freedom as there were other subjects, foreign ones any z up to 20 alike. An input nearer
    than the centre is as usual as the centre.
    """
    z = ((root - centre) / spread).clamp(min=0).numpy()
    usual = student.pdf(z, min(max(subjects - 1, 2), 30)) * REACH * (1 - FOREIGN)
    return torch.as_tensor(FOREIGN / (FOREIGN + usual))


def fit(network: nn.Module, training_data: Data) -> dict[str, Tensor]:
    """Per modality and variable what `learn` finds and how far strangers lie; per target the prior.

    How far a new subject's usual trials lie is measured by leaving each training subject out in turn: centre = median
    of x = (D^2)^(1/3), spread = (upper quartile - median) / 0.6745, which one training subject with a dead sensor does
    not move. The network is not asked. With fewer than 3 subjects that cannot be told, and nothing will be foreign.

    Returns
    -------
    ``<modality>/<variable>/``: ``location``, ``scale``, ``basis``, ``values``, ``rest`` and ``reference`` (centre,
    spread, subjects);
    ``prior/<t>``: mean and sd of a continuous target, log frequencies (with one more trial per class) of another.
    """
    state = {}
    for k, (modality, block) in enumerate(training_data.inputs.items()):
        here = training_data.present[:, k].cpu()
        if not here.any():
            continue
        who = np.array(training_data.subject)[here.numpy()]
        for name, columns in describe({name: value.cpu()[here] for name, value in block.items()}).items():
            place = f"{modality}/{name}"
            state |= {f"{place}/{key}": value for key, value in learn(columns).items()}
            state[f"{place}/reference"] = _reference(columns, who)
    for name, truth in training_data.truth.items():
        if truth.is_floating_point():
            y = truth[torch.isfinite(truth)].double()
            state[f"prior/{name}"] = (
                torch.stack([y.mean(), y.std(correction=0)]) if len(y) else torch.tensor([0.0, 0.5])
            )
    levels = {name: logits for name, logits in _levels(network, training_data).items()}
    for name, count in levels.items():
        y = training_data.truth[name]
        found = torch.bincount(y[y >= 0], minlength=count).double() + 1
        state[f"prior/{name}"] = (found / found.sum()).log()
    return {name: value.float().contiguous() for name, value in state.items()}


def _reference(columns: Tensor, who: np.ndarray) -> Tensor:
    """Centre and spread of x = (D^2)^(1/3) of subjects that are left out in turn, and how many there are."""
    people = np.unique(who)
    if len(people) < 3:
        return torch.tensor([0.0, 1.0, 0.0])
    left = torch.cat([_root(columns[who == s], learn(columns[who != s])) for s in people])
    low, high = (float(left.quantile(q)) for q in (0.5, 0.75))
    return torch.tensor([low, max((high - low) / QUARTILE, SPREAD * max(low, 1.0)), float(len(people))])


def _root(columns: Tensor, learnt: Mapping[str, Tensor]) -> Tensor:
    """x = (D^2)^(1/3), nearly normal where D^2 is nearly chi-square (Wilson & Hilferty 1931)."""
    return squared(columns, learnt) ** (1 / 3)


def _levels(network: nn.Module, data: Data) -> dict[str, int]:
    """Categorical target -> number of its levels, as the network gives them."""
    some = data.rows(torch.arange(min(2, len(data))))
    device = next(network.parameters()).device
    inputs = {m: {k: v.to(device) for k, v in block.items()} for m, block in some.inputs.items()}
    with torch.no_grad(), dropout.active(network, on=False):
        return {name: logits.shape[-1] for name, logits in network(inputs, some.present.to(device)).logits.items()}


def foreign(state: Mapping[str, Tensor], data: Data) -> Tensor:
    """Probability (trial, modality) that a modality's input is foreign: that of its most foreign variable.

    0 where the modality is missing.
    """
    found = torch.zeros(data.present.shape, dtype=torch.float64)
    for k, (modality, block) in enumerate(data.inputs.items()):
        here = data.present[:, k].cpu()
        if not here.any():
            continue
        for name, columns in describe({name: value.cpu()[here] for name, value in block.items()}).items():
            place = f"{modality}/{name}/"
            learnt = {key.removeprefix(place): v.double() for key, v in state.items() if key.startswith(place)}
            centre, spread, subjects = learnt["reference"].tolist() if learnt else (0.0, 1.0, 0.0)
            if subjects >= 3:
                this = probability(_root(columns, learnt), centre, spread, int(subjects))
                found[here, k] = torch.maximum(found[here, k], this)
    return found


def sample(
    network: nn.Module, state: Mapping[str, Tensor], data: Data, *, passes: int, seed: int, device: str = "cpu"
) -> dict[str, Tensor]:
    """Draws as `dropout.sample` returns them, pulled to the prior by the probability that an input is foreign.

    In each pass, a modality is withheld from a network of several with its own probability of being foreign; a
    modality that is the last one stays. With pi the probability that all of a trial's modalities are foreign,

        mean_d <- (1 - pi) mean_d + pi m0 + sqrt(pi) s0 e_d,
        log p_dk <- (1 - pi) log p_dk + pi log p0_k + sqrt(pi) e_dk   (then normalised)

    with the training trials' mean m0, sd s0 and frequencies p0. Over the passes e_d has mean 0 and variance 1 (normal
    quantiles in random order), so the epistemic variance of a wholly foreign trial is that of the ratings themselves.
    The variance v_d, and the embedding, stay as the network gave them.
    """
    alone = foreign(state, data)
    present = data.present.cpu()
    several = present.shape[1] > 1 and bool((alone > 0).any())

    def withheld(network: nn.Module, batch: dropout.Batch, number: int):
        keep = batch.present & (torch.rand(batch.present.shape) >= alone[batch.rows].float()).to(batch.present.device)
        keep = torch.where(keep.any(1, keepdim=True), keep, _likeliest(alone[batch.rows], batch.present))
        return network(batch.inputs, keep)

    draws = dropout.sample(network, data, passes=passes, seed=seed, device=device, call=withheld if several else None)
    share = torch.where(present, alone, torch.ones_like(alone)).prod(1) * present.any(1)
    generator = torch.Generator().manual_seed(seed)
    for key in list(draws):
        kind, _, name = key.partition("/")
        if kind not in ("mean", "log_prob") or f"prior/{name}" not in state:
            continue
        prior, values = state[f"prior/{name}"].double(), draws[key].double()
        pi = share.reshape(1, -1, *[1] * (values.ndim - 2))
        noise = pi.sqrt() * quantiles(values.shape, generator)
        if kind == "mean":
            draws[key] = ((1 - pi) * values + pi * prior[0] + prior[1] * noise).float()
        else:
            draws[key] = ((1 - pi) * values + pi * prior + noise).log_softmax(-1).float()
    return draws


def _likeliest(foreign: Tensor, present: Tensor) -> Tensor:
    """One modality per trial: the present one that is least likely foreign (trial, modality)."""
    rank = torch.where(present.cpu(), foreign, torch.full_like(foreign, math.inf)).argmin(1)
    kept = torch.zeros(present.shape, dtype=torch.bool)
    kept[torch.arange(len(rank)), rank] = True
    return kept.to(present.device) & present


def quantiles(shape: torch.Size | tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Standard normal numbers (pass, ...) whose mean over passes is 0 and whose variance is 1, in random order.

    The quantiles at (k + 1/2) / passes, scaled, permuted for every trial and level on its own; a single pass has
    nothing to be permuted among and gets an independent normal number.
    """
    if shape[0] == 1:
        return torch.randn(shape, generator=generator, dtype=torch.double)
    levels = (torch.arange(shape[0], dtype=torch.double) + 0.5) / shape[0]
    values = math.sqrt(2) * torch.erfinv(2 * levels - 1)
    values = values / values.std(correction=0)
    return values[torch.rand(shape, generator=generator, dtype=torch.double).argsort(0)]
