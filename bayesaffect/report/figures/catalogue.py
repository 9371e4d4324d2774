"""The catalogue: which figures a study has, in the order of the page. A figure whose data do not exist is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from bayesaffect.report.figures import (
    calibration,
    classes,
    complementarity,
    conformal,
    data,
    importance,
    ratings,
    robustness,
    scalp,
    scores,
    study,
    subjects,
    weights,
)
from bayesaffect.report.findings import Findings
from bayesaffect.report.style import Picture


def catalogue(findings: Findings) -> list[tuple[str, Callable[[], Picture | None]]]:
    """(section, function that draws) for every figure that might exist."""
    kinds = findings.categorical
    out = [
        ("data", partial(study.data, findings)),
        ("data", partial(data.answers, findings)),
        ("data", partial(data.quality_and_error, findings)),
        ("scores", partial(scores.scores, findings)),
        ("scores", partial(scores.differences, findings)),
        ("scores", partial(subjects.selective, findings)),
    ]
    for target in kinds:
        out += [
            ("calibration", partial(classes.reliability, findings, target)),
            ("calibration", partial(calibration.classwise, findings, target)),
        ]
    out += [
        ("calibration", partial(ratings.coverage, findings)),
        ("calibration", partial(calibration.announced, findings)),
        ("calibration", partial(calibration.by_person, findings)),
        ("calibration", partial(conformal.conformal, findings)),
        ("predictions", partial(ratings.plane, findings)),
        ("predictions", partial(ratings.scatter, findings)),
    ]
    for target in kinds:
        out += [
            ("predictions", partial(classes.confusion, findings, target)),
            ("predictions", partial(classes.roc, findings, target)),
        ]
    out.append(("weights", partial(weights.population, findings)))
    out += [("weights", partial(weights.by_subject, findings, t.name)) for t in findings.targets]
    out += [
        ("importance", partial(importance.shapley, findings)),
        ("importance", partial(importance.subsets, findings)),
        ("importance", partial(importance.leaning, findings)),
        ("importance", partial(complementarity.pairs, findings)),
        ("importance", partial(complementarity.helped, findings, "emotion")),
        ("importance", partial(complementarity.helped, findings, "stimulus")),
        ("importance", partial(scalp.scalp, findings)),
        ("importance", partial(scalp.bands, findings)),
    ]
    out += [("robustness", partial(robustness.robustness, findings, t.name)) for t in findings.targets]
    out += [
        ("robustness", partial(robustness.spared, findings)),
        ("subjects", partial(complementarity.helped, findings, "subject")),
    ]
    out.append(("subjects", partial(subjects.subjects, findings)))
    out += [("diagnostics", partial(study.ranks, findings, fit)) for fit in findings.posteriors]
    out.append(("diagnostics", partial(study.learning, findings)))
    return out


def draw_all(findings: Findings) -> Iterator[tuple[str, Picture]]:
    """Draw one figure after the other: (section, picture)."""
    for section, draw in catalogue(findings):
        picture = draw()
        if picture is not None:
            yield section, picture
