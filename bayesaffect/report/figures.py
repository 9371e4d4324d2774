"""The catalogue: which figures a study has, in the order of the page. A figure whose data do not exist is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from bayesaffect.report import (
    figures_classes,
    figures_ratings,
    figures_scores,
    figures_study,
    figures_subjects,
    figures_weights,
)
from bayesaffect.report.findings import Findings
from bayesaffect.report.style import Picture


def catalogue(findings: Findings) -> list[tuple[str, Callable[[], Picture | None]]]:
    """(section, function that draws) for every figure that might exist."""
    kinds = {t.name: t for t in findings.categorical}
    out = [
        ("data", partial(figures_study.data, findings)),
        ("scores", partial(figures_scores.scores, findings)),
        ("scores", partial(figures_scores.differences, findings)),
    ]
    out += [("calibration", partial(figures_classes.reliability, findings, t)) for t in kinds.values()]
    out += [
        ("calibration", partial(figures_ratings.coverage, findings)),
        ("calibration", partial(figures_subjects.selective, findings)),
        ("predictions", partial(figures_ratings.plane, findings)),
        ("predictions", partial(figures_ratings.scatter, findings)),
    ]
    for target in kinds.values():
        out += [
            ("predictions", partial(figures_classes.confusion, findings, target)),
            ("predictions", partial(figures_classes.roc, findings, target)),
        ]
    out.append(("weights", partial(figures_weights.population, findings)))
    out += [("weights", partial(figures_weights.by_subject, findings, t.name)) for t in findings.targets]
    out.append(("subjects", partial(figures_subjects.subjects, findings)))
    out += [("diagnostics", partial(figures_study.ranks, findings, fit)) for fit in findings.posteriors]
    out.append(("diagnostics", partial(figures_study.learning, findings)))
    return out


def draw_all(findings: Findings) -> Iterator[tuple[str, Picture]]:
    """Draw one figure after the other: (section, picture)."""
    for section, draw in catalogue(findings):
        picture = draw()
        if picture is not None:
            yield section, picture
