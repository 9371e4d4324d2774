"""Three ways to join modalities, by the names under which they are looked for.

Early fusion lets one network read everything; late fusion joins what separate networks say; hybrid fusion reads what
they say and what they saw. All are tested on people whom neither networks nor fusion learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bayesaffect import encoders, fusion, progress, splits
from bayesaffect.errors import InputError
from bayesaffect.fusion import Sampling
from bayesaffect.pipeline.train import EARLY
from bayesaffect.types import Opinions, Predictive, Trials
from bayesaffect.types.unit import check_names
from bayesaffect.uncertainty.crossfit import Execution, crossfit
from bayesaffect.uncertainty.ensemble import Ensemble
from bayesaffect.uncertainty.training import Training

if TYPE_CHECKING:
    import arviz

Groups = Sequence[Sequence[str]]
FOLDS = 5


class Fusion(NamedTuple):
    """``predictive``: of the tested subjects, by fits without them; ``posterior``: of the fit to all subjects."""

    predictive: Predictive
    posterior: arviz.InferenceData


def early_fusion(
    trials: Trials,
    folder: Path,
    *,
    groups: Groups | None = None,
    ensemble: Ensemble | None = None,
    training: Training | None = None,
    seed: int,
    jobs: int = 1,
) -> Predictive:
    """Predictions of networks that read the inputs of all modalities at once.

    Every subject is predicted by networks that saw nobody of the subject's group, on the trials with at least one
    modality; what is missing reaches the network as a mask.

    Parameters
    ----------
    trials : inputs of two modalities or more, as `bayesaffect.pipeline.prepare` makes them.
    folder : where trained networks are kept, under keys of what they were made from; they are not trained again.
    groups : all subjects in groups, each tested in turn; ``None``: five groups at random.
    ensemble, training : settings of the networks; ``None`` for the defaults.
    jobs : processes that train.

    Raises
    ------
    InputError : a single modality, or groups that are not those of the subjects.
    """
    if len(trials.modalities) < 2:
        raise InputError(
            f"there is nothing to fuse: the only modality is {trials.modalities[0]!r}", remedy="give two or more"
        )
    result = crossfit(
        trials,
        _groups(trials, groups, seed),
        {EARLY: trials.modalities},
        build=encoders.build,
        ensemble=ensemble or Ensemble(),
        training=training or Training(),
        execution=Execution(Path(folder), False, jobs),
        seed=seed,
    )
    return result.out_of_fold[EARLY]


def late_fusion(
    opinions: Opinions,
    target: str,
    *,
    groups: Groups | None = None,
    sampling: Sampling | None = None,
    seed: int,
    cache: Path | None = None,
) -> Fusion:
    """Fuse opinions: a measurement model of a rating, or a log-linear pool of class probabilities.

    Parameters
    ----------
    opinions : out-of-fold opinions of every modality, with truth where it is known.
    target : one of its targets.
    groups : groups of subjects to be tested in turn, each predicted as new people by a fit without it; ``None``:
        all subjects, in five groups at random. A part of the subjects costs fewer fits.
    sampling : settings of the sampler; ``None`` for the defaults.
    cache : folder of compiled densities; ``None`` for the user's cache folder.

    If networks behind the opinions on other people have seen a tested person, the comparison with single modalities
    is a little too kind to fusion; `bayesaffect.pipeline.study.run` trains nested networks instead.

    Raises
    ------
    InputError : as `bayesaffect.fusion.fit`; a group without a subject of the opinions.
    """
    return _fused(fusion.fit, opinions, target, groups=groups, sampling=sampling, seed=seed, cache=cache)


def hybrid_fusion(
    opinions: Opinions,
    target: str,
    *,
    groups: Groups | None = None,
    sampling: Sampling | None = None,
    seed: int,
    cache: Path | None = None,
) -> Fusion:
    """Fuse opinions together with the features behind them, under attention over modalities.

    As `late_fusion`; the opinions carry features as ``embedding`` (`bayesaffect.fusion.with_features` adds those of
    trials).

    Raises
    ------
    InputError : as `bayesaffect.fusion.fit_hybrid`; a group without a subject of the opinions.
    """
    return _fused(fusion.fit_hybrid, opinions, target, groups=groups, sampling=sampling, seed=seed, cache=cache)


def _fused(fit: Callable, opinions: Opinions, target: str, *, groups: Groups | None, seed: int, **given) -> Fusion:
    groups = [tuple(map(str, group)) for group in _groups(opinions, groups, seed)]
    rows = [opinions.subject.isin(list(group)).values for group in groups]
    if empty := [group for group, row in zip(groups, rows, strict=True) if not row.any()]:
        raise InputError(f"nobody of the group {empty[0]} is in the opinions", remedy="name subjects that are")
    with progress.bar("fuse", len(groups) + 1) as advance:
        whole = fit(opinions, target, seed=seed, **given)
        advance(1)
        parts = []
        for group, row in zip(groups, rows, strict=True):
            posterior = fit(opinions, target, held_out=group, seed=seed, **given)
            parts.append(fusion.predict(posterior, opinions.select(row), target=target, seed=seed))
            advance(1)
    return Fusion(Predictive.concat(parts), whole)


def _groups(index: Trials | Opinions, groups: Groups | None, seed: int) -> Groups:
    if groups is not None:
        return groups
    check_names(index.subject.values, splits.SUBJECT)
    return splits.grouped(index.subject.values, FOLDS, seed=seed)
