"""The whole study: recordings (or a table of opinions) in, posterior and page out; resumes where it was."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from bayesaffect.errors import InputError
from bayesaffect.io import opinions as tables
from bayesaffect.io import store
from bayesaffect.pipeline import settings as study_settings
from bayesaffect.pipeline import stages
from bayesaffect.pipeline import train as training
from bayesaffect.pipeline.baselines import on_features, single
from bayesaffect.pipeline.fuse import fuse
from bayesaffect.pipeline.opinions import with_trials
from bayesaffect.pipeline.prepare import prepare
from bayesaffect.pipeline.report import Evidence, report
from bayesaffect.pipeline.settings import Settings
from bayesaffect.report.findings import Findings
from bayesaffect.types import Opinions, Trials
from bayesaffect.uncertainty.crossfit import CrossFit, Execution

# models of every report
RESERVED = {"late", "hybrid", "early", "equal", "product", "evidential", "stimulus", "prior", "stacking", "order"}
RESERVED |= {"linear", "forest"}


def run(
    workspace: Path,
    settings: Settings,
    *,
    command: str,
    jobs: int = 1,
    who: Execution | None = None,
    announce: Callable[..., object] | None = None,
) -> tuple[Path, Findings]:
    """Prepare, train, fuse and report; every finished piece of an earlier run is taken as it is.

    ``who`` trains (as `train.execution` checked it); ``announce`` is given the lines of the training plan.
    """
    store.open_workspace(workspace, create=True)
    study_settings.save(settings, workspace)
    stages.note_command(workspace, command)
    trials = prepare(workspace, settings, jobs=jobs)
    cross = training.train(workspace, settings, trials, jobs=jobs, who=who, announce=announce)
    return fuse_and_report(workspace, settings, trials, cross, command=command)


def fuse_and_report(
    workspace: Path, settings: Settings, trials: Trials, cross: CrossFit, *, command: str
) -> tuple[Path, Findings]:
    """Fuse the opinions of trained networks and write the page."""
    trials = training.apart(settings, trials)
    groups = training.groups(settings, trials)

    @functools.cache  # every target asks for the opinions of every group
    def opinions(group: int | None) -> Opinions:
        members = groups[group] if group is not None else ()
        chosen = training.fusion_input(cross, group, trials.modalities, members, unit=trials.unit)
        return with_trials(Opinions.from_predictives(chosen, trials), trials)

    with stages.timed(workspace, "fuse"):
        fused = fuse(workspace, settings, opinions, groups)
    with stages.timed(workspace, "report"):
        evidence = Evidence(
            opinions,
            groups,
            cross.out_of_fold,
            fused,
            trials.omissions,
            training.learning_curves(workspace, settings),
            on_features(workspace, settings, trials, groups),
            trials,
        )
        return report(workspace, settings, evidence, command=command)


def fuse_table(workspace: Path, settings: Settings, *, command: str) -> tuple[Path, Findings]:
    """Cross-validate the fusion of a table of opinions made elsewhere, and write the same page."""
    opinions = tables.read_table(Path(settings.dataset), **settings.reading)
    if taken := sorted(RESERVED & set(opinions.modalities)):
        raise InputError(f"has a modality called {taken[0]!r}", where=settings.dataset, remedy="give it another name")
    opinions = training.apart(settings, opinions)
    groups = training.groups(settings, opinions)
    store.open_workspace(workspace, create=True)
    study_settings.save(settings, workspace)
    if command:
        stages.note_command(workspace, command)
    with stages.timed(workspace, "fuse"):
        fused = fuse(workspace, settings, lambda group: opinions, groups)
    evidence = Evidence(lambda group: opinions, groups, single(opinions, groups), fused)
    with stages.timed(workspace, "report"):
        return report(workspace, settings, evidence, command=command)


def resume(workspace: Path, *, command: str, **changed) -> tuple[Path, Findings]:
    """Fuse and report what a workspace holds; options of the sampler may be changed."""
    settings = study_settings.change(study_settings.load(workspace), **changed)
    if settings.format == "opinions":
        return fuse_table(workspace, settings, command=command if changed else "")
    trials = prepare(workspace, settings)
    cross = training.load(workspace, settings, trials)
    study_settings.save(settings, workspace)
    if changed:
        stages.note_command(workspace, command)
    return fuse_and_report(workspace, settings, trials, cross, command=command)
