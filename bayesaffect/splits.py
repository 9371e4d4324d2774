"""Who is learned from and who is tested on: groups of people, clips, versions or times that are never shared.

Protocols are named as the field names them (EPiC 2023: across-time, across-subject, across-elicitor,
across-version). Each says by which unit of the trials folds are held apart (`types.unit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bayesaffect.errors import InputError
from bayesaffect.types import Opinions, Trials
from bayesaffect.types.unit import check_names, forbidden

SUBJECT = "subject"
UNIT = {SUBJECT: "subject", "elicitor": "stimulus", "version": "version", "time": "part", "within": "fold"}
OPTION = {**{name: f"across-{name}" for name in UNIT if name != "within"}, "within": "within-subject"}
LOSO = "loso"


def parse(option: str) -> str:
    """``across-elicitor`` -> ``elicitor``; the short names pass, too.

    Raises
    ------
    InputError : no such protocol.
    """
    found = {**{name: name for name in UNIT}, **{option: name for name, option in OPTION.items()}}
    if option not in found:
        raise InputError(f"there is no protocol {option!r}", remedy=f"choose one of {', '.join(OPTION.values())}")
    return found[option]


def apart(index: Trials | Opinions, protocol: str, folds: int | str, *, seed: int) -> Trials | Opinions:
    """The same trials, held out by the unit of a protocol.

    ``time`` adds the coordinate ``part``: each subject's trials, in the order in which they come, in ``folds`` parts of
    equal length, 1 to ``folds``. ``within`` adds ``fold``: each subject's trials dealt at random into ``folds``.

    Raises
    ------
    InputError : trials without stimulus or version, no stimulus that two people saw, one version only, no subject
        with as many trials as there are parts, or names that may be one person's, stimulus's or version's
        (`types.unit.check_names`).
    """
    if protocol not in UNIT:
        raise InputError(f"there is no protocol {protocol!r}", remedy=f"choose one of {', '.join(UNIT)}")
    by, present = UNIT[protocol], index.present
    for named in (SUBJECT, by) if by in present.coords and by not in ("part", "fold") else (SUBJECT,):
        check_names(present[named].values, named)
    if protocol == SUBJECT:
        return index if index.held_out_by == by else replace(index, held_out_by=by)
    if protocol == "elicitor":
        _check_stimuli(present)
    elif protocol == "version":
        _check_versions(present)
    else:
        present = present.assign_coords({by: ("trial", _pieces(present, protocol, folds, seed))})
    return replace(index, present=present, held_out_by=by)


def as_new(index: Trials, protocol: str) -> Trials:
    """New recordings in a study of some protocol: of a later part, in no fold, of a new version if they name none."""
    by = UNIT[protocol]
    later = {"part": np.iinfo(np.int32).max, "fold": 0, "version": "new"}
    present = index.present
    if by in later and (by != "version" or by not in present.coords):
        present = present.assign_coords({by: ("trial", np.full(present.sizes["trial"], later[by]))})
    return replace(index, present=present, held_out_by=by)


def _check_stimuli(present):
    stimulus, subject = (present[name].values.astype(str) for name in ("stimulus", "subject"))
    if (stimulus == "").any():
        raise InputError(
            "across-elicitor needs the stimulus of every trial",
            where=f"trial {present['trial'].values[np.argmax(stimulus == '')]}",
            remedy="give a column stimulus",
        )
    pairs = {*zip(stimulus.tolist(), subject.tolist(), strict=True)}
    _, viewers = np.unique([name for name, _ in pairs], return_counts=True)
    if viewers.size < 2:
        raise InputError(
            f"there is one stimulus only, {str(stimulus[0])!r}, and leaving it out leaves nothing to learn from",
            remedy="name the stimulus of each trial, or use across-subject",
        )
    if (viewers < 2).all():
        raise InputError(
            f"{viewers.size} stimuli, and none was seen by two people, cannot be left out one by one",
            remedy="name a stimulus alike for everybody who saw it",
        )


def _check_versions(present):
    if "version" not in present.coords:
        raise InputError(
            "across-version needs the version of every trial (of the session, the recording or the device)",
            remedy="give a column version in the table of opinions, or in the table of a dataset description",
        )
    versions = np.unique(present["version"].values.astype(str))
    if versions.size < 2 or any("@" in v or not v for v in versions):
        raise InputError(
            f"versions are {', '.join(map(repr, versions.tolist()))}, and two named ones are needed",
            remedy="name the version of every trial, without @",
        )


def _pieces(present, protocol: str, folds: int | str, seed: int) -> np.ndarray:
    """Part of the session, or fold inside the subject, of each trial: 1 to ``folds``."""
    if folds == LOSO:
        raise InputError(f"{OPTION[protocol]} has no subjects to leave out", remedy="give a number of folds")
    subject = present["subject"].values.astype(str)
    piece = np.zeros(subject.size, dtype=int)
    for name in np.unique(subject):
        rows = np.flatnonzero(subject == name)
        place = np.arange(rows.size)
        if protocol == "within":
            place = np.random.default_rng([seed, *name.encode()]).permutation(rows.size)
        piece[rows] = 1 + place * folds // rows.size
    if (most := np.unique(subject, return_counts=True)[1].max()) < folds:
        raise InputError(f"nobody has {folds} trials for {folds} parts", remedy=f"ask for at most {most} folds")
    return piece


def groups(index: Trials | Opinions, folds: int | str, *, seed: int) -> tuple[tuple[str, ...], ...]:
    """The groups of units that are held out, one after another; together all units of ``index``.

    Subjects and stimuli are dealt (`grouped`) into ``folds`` groups, stimuli into as many as there are where there are
    fewer, or left out one by one (``loso``). Versions are left out one by one; parts of sessions follow one another.
    """
    unit, by = index.unit.values.astype(str), index.held_out_by
    if by in ("subject", "stimulus"):
        if folds == LOSO:
            return leave_one_subject_out(unit)
        return grouped(unit, folds if by == "subject" else min(folds, np.unique(unit).size), seed=seed)
    value, names = index.present[by].values, sorted(set(unit))
    of = dict(zip(unit.tolist(), value.tolist(), strict=True))
    return tuple(tuple(name for name in names if of[name] == v) for v in np.unique(value).tolist())


def tested(index: Trials | Opinions, members: Sequence[str]) -> np.ndarray:
    """The trials of a group that is held out: bool (trial,)."""
    return np.isin(index.unit.values.astype(str), list(members))


def learnt(index: Trials | Opinions, members: Sequence[str]) -> np.ndarray:
    """The trials that may be learnt from when a group is held out: bool (trial,).

    All others; where parts of sessions are held out, those before only.
    """
    names, which = np.unique(index.unit.values.astype(str), return_inverse=True)
    return ~forbidden(index.held_out_by, np.array(list(members), dtype=str), names).any(0)[which]


def sentence(protocol: str, groups: Sequence[Sequence[str]]) -> str:
    """What is kept apart, for the page."""
    k = len(groups)
    n = sum(len(group) for group in groups)
    if protocol == "elicitor":
        how = "leave-one-stimulus-out" if n == k else f"{n} stimuli in {k} groups"
        return (
            f"Across-elicitor cross-validation ({how}): nothing that predicts a trial has seen a label of its "
            "stimulus, from anybody. The people are the same in training and test, so their own effects are used, and "
            "nothing is said about new people."
        )
    if protocol == "version":
        return (
            f"Across-version cross-validation: each of {k} versions is left out in turn, and nothing that predicts a "
            "trial has seen a label of its version, from anybody. The people may be the same in training and test; "
            "the effects of those who are known are used."
        )
    if protocol == "time":
        return (
            f"Across-time: everybody's session is cut into {k} parts of equal length; each part is predicted by what "
            "was learnt from the parts before it, of everybody, and never from later ones (expanding windows). The "
            "first parts are only learnt from. The people are the same in training and test, so their own effects are "
            "used, and nothing is said about new people."
        )
    if protocol == "within":
        return (
            f"Within-subject cross-validation: each person's trials are dealt at random into {k} folds; those of one "
            "fold are predicted by what was learnt from the other folds, of the same person and of everybody else."
        )
    how = "Leave-one-subject-out" if n == k else f"{k}-fold"
    return (
        f"{how} cross-validation over subjects: nobody is in the training and the test set of a fold. Test subjects "
        "are predicted as new people drawn from the population; none of their labels is used."
    )


OWN = {
    SUBJECT: "its subject",
    "elicitor": "its stimulus",
    "version": "its version",
    "time": "its part of the session, or a later one",
    "within": "its fold of its subject",
}
TESTED = {
    SUBJECT: "test subjects",
    "elicitor": "tested stimuli",
    "version": "tested version",
    "time": "tested part",
    "within": "tested folds",
}


def guard(protocol: str, *, nested: bool) -> str:
    """What networks and fusion have not seen, for the page; ``nested`` as in `Settings`."""
    kept = f"Every opinion is made by networks that did not see {OWN[protocol]} (checked when opinions are built)"
    if nested or protocol == "time":
        return (
            f"{kept}; the opinions that fusion is trained on come from networks that did not see the "
            f"{TESTED[protocol]} either."
        )
    return (
        f"{kept}; networks behind the opinions that fusion is trained on have seen labels of {TESTED[protocol]} "
        "(nested fits were switched off)."
    )


def vouched(protocol: str) -> str:
    """What nobody can check of a table of opinions, for the page."""
    own = OWN[protocol].removeprefix("its ")
    same = "same " if protocol != "within" else ""
    return (
        f"The opinions were made elsewhere; that no opinion comes from a model trained on the {same}{own} is vouched "
        "for by whoever made the table and cannot be checked here."
    )


def warning(protocol: str) -> str | None:
    """What a reader has to be warned of before the scores, where a protocol tells nothing of new people."""
    if protocol == "within":
        return (
            "Within-subject scores: the same person, the same session and neighbouring trials are in training and "
            "test. They are too good for anybody new, and windows cut from one recording are almost copies of each "
            "other; use across-subject for what to expect of a new person."
        )
    if protocol == "time":
        return (
            "Across-time scores are of people whose earlier labels are known; use across-subject for what to expect of "
            "a new person. Features are standardised over all trials of a person, later ones included, without labels; "
            "windows that overlap share some signal across the border of two parts."
        )
    if protocol in ("elicitor", "version"):
        return (
            "These scores are of people whose labels for other trials are known; use across-subject for what to expect "
            "of a new person."
        )
    return None


def leave_one_subject_out(subject: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """One group per subject, in sorted order."""
    return tuple((name,) for name in sorted({str(s) for s in subject}))


def grouped(subject: Sequence[str], groups: int, *, seed: int) -> tuple[tuple[str, ...], ...]:
    """Deal the subjects into ``groups`` disjoint groups with about equally many trials.

    Subjects are shuffled by ``seed``, sorted by their number of trials (largest first, stable) and each
    goes to the group that has the fewest trials so far; among equals, to the one with the fewest subjects.

    Parameters
    ----------
    subject : subject of every trial (repetitions count as trials).
    groups : number of groups K, 2 <= K <= number of subjects.

    Returns
    -------
    tuple of K tuples of subject names, each sorted.

    Raises
    ------
    InputError : when there are fewer subjects than groups, or fewer than two groups are asked for.
    """
    names, trials = np.unique(np.asarray(subject, dtype=str), return_counts=True)
    if groups < 2:
        raise InputError(f"{groups} groups of subjects were asked for", remedy="cross-validation needs at least 2")
    if names.size < 2:
        raise InputError(
            f"there is one subject only, {', '.join(names.tolist())}", remedy="cross-validation needs at least 2"
        )
    if names.size < groups:
        raise InputError(
            f"{names.size} subjects cannot fill {groups} groups", remedy=f"ask for at most {names.size} folds"
        )
    order = np.random.default_rng(seed).permutation(names.size)
    order = order[np.argsort(-trials[order], kind="stable")]
    dealt: list[list[str]] = [[] for _ in range(groups)]
    load = np.zeros(groups, dtype=int)
    for k in order:
        least = min(range(groups), key=lambda g: (load[g], len(dealt[g])))
        dealt[least].append(str(names[k]))
        load[least] += trials[k]
    return tuple(tuple(sorted(group)) for group in dealt)
