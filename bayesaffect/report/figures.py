"""The catalogue: which figures a study has, in the order of the page. A figure whose data do not exist is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from bayesaffect.report import (
    figures_calibration,
    figures_classes,
    figures_complementarity,
    figures_conformal,
    figures_data,
    figures_importance,
    figures_ratings,
    figures_robustness,
    figures_scalp,
    figures_scores,
    figures_study,
    figures_subjects,
    figures_weights,
)
from bayesaffect.report.findings import Findings
from bayesaffect.report.style import Picture


def catalogue(findings: Findings) -> list[tuple[str, Callable[[], Picture | None]]]:
    """(section, function that draws) for every figure that might exist."""
    kinds = findings.categorical
    out = [
        ("data", partial(figures_study.data, findings)),
        ("data", partial(figures_data.answers, findings)),
        ("data", partial(figures_data.quality_and_error, findings)),
        ("scores", partial(figures_scores.scores, findings)),
        ("scores", partial(figures_scores.differences, findings)),
        ("scores", partial(figures_subjects.selective, findings)),
    ]
    for target in kinds:
        out += [
            ("calibration", partial(figures_classes.reliability, findings, target)),
            ("calibration", partial(figures_calibration.classwise, findings, target)),
        ]
    out += [
        ("calibration", partial(figures_ratings.coverage, findings)),
        ("calibration", partial(figures_calibration.announced, findings)),
        ("calibration", partial(figures_calibration.by_person, findings)),
        ("calibration", partial(figures_conformal.conformal, findings)),
        ("predictions", partial(figures_ratings.plane, findings)),
        ("predictions", partial(figures_ratings.scatter, findings)),
    ]
    for target in kinds:
        out += [
            ("predictions", partial(figures_classes.confusion, findings, target)),
            ("predictions", partial(figures_classes.roc, findings, target)),
        ]
    out.append(("weights", partial(figures_weights.population, findings)))
    out += [("weights", partial(figures_weights.by_subject, findings, t.name)) for t in findings.targets]
    out += [
        ("importance", partial(figures_importance.shapley, findings)),
        ("importance", partial(figures_importance.subsets, findings)),
        ("importance", partial(figures_importance.leaning, findings)),
        ("importance", partial(figures_complementarity.pairs, findings)),
        ("importance", partial(figures_complementarity.helped, findings, "emotion")),
        ("importance", partial(figures_complementarity.helped, findings, "stimulus")),
        ("importance", partial(figures_scalp.scalp, findings)),
        ("importance", partial(figures_scalp.bands, findings)),
    ]
    out += [("robustness", partial(figures_robustness.robustness, findings, t.name)) for t in findings.targets]
    out += [
        ("robustness", partial(figures_robustness.spared, findings)),
        ("subjects", partial(figures_complementarity.helped, findings, "subject")),
    ]
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
