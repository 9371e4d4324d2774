"""Verbs about models: train, fuse, report, study, demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bayesaffect import progress
from bayesaffect.cli import options
from bayesaffect.cli.output import command, console, end, folder, print_findings, say
from bayesaffect.errors import InputError

if TYPE_CHECKING:
    from bayesaffect.report.findings import Findings


def train(
    workspace: options.Existing,
    folds: options.Folds = 5,
    members: options.Members = 3,
    passes: options.Passes = 10,
    uncertainty: options.Uncertainty = "distance",
    epochs: options.Epochs = 40,
    network: options.Networks = None,
    protocol: options.Protocol = "across-subject",
    flat: options.Flat = False,
    seed: options.Seed = 0,
    jobs: options.TrainingJobs = None,
    device: options.Device = "cpu",
    scheduler: options.Scheduler = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Keep losses for TensorBoard in WORKSPACE/training, too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost, and stop there.")] = False,
    status: Annotated[
        bool,
        typer.Option("--status", help="Only print the progress of the training that is running, or of the last one."),
    ] = False,
):
    """Train the networks and predict every subject by networks that did not see that subject."""
    if status:
        from bayesaffect.pipeline import watch

        say(*watch.lines(workspace))
        return
    from bayesaffect.pipeline import prepare as preparing
    from bayesaffect.pipeline import settings as study_settings
    from bayesaffect.pipeline import stages
    from bayesaffect.pipeline import train as stage

    given = {"folds": folds, "members": members, "passes": passes, "method": uncertainty, "epochs": epochs}
    given |= {"protocol": protocol, "nested": not flat, "seed": seed}
    settings = study_settings.change(study_settings.load(workspace), networks=_networks(network or []), **given)
    who = stage.execution(workspace, settings, jobs=jobs, device=device, scheduler=scheduler, tensorboard=tensorboard)
    with progress.shown(console):
        trials = preparing.prepare(workspace, settings, jobs=jobs or 2)
        if dry_run:
            say(*stage.plan_lines(stage.lay_out(settings, trials, who)))
            return
        study_settings.save(settings, workspace)
        stages.note_command(workspace, command())
        cross = stage.train(workspace, settings, trials, who=who, announce=say)
    say(f"opinions of {', '.join(cross.out_of_fold)}: {workspace / 'opinions'}")
    say(*stages.sentences(workspace), f"next: bayesaffect fuse {workspace}")


def fuse(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A trained workspace, or a table of opinions (CSV or Parquet).")
    ],
    workspace: Annotated[
        Path | None, typer.Argument(metavar="WORKSPACE", help="Workspace for the fusion of a table.")
    ] = None,
    folds: Annotated[int | None, typer.Option(min=2, help="Groups of subjects (tables only) [default: 10].")] = None,
    bounds: Annotated[
        list[str] | None,
        typer.Option(help="Rating scale of a target of the table, such as valence=1:9; may be repeated."),
    ] = None,
    draws: options.Draws = 1000,
    chains: options.Chains = 4,
    engine: options.Engine = "auto",
    likelihood: options.Likelihood = "normal",
    pooling: options.Pooling = "partial",
    gains: options.Gains = "shared",
    joint: options.Joint = False,
    hybrid: options.Hybrid = False,
    protocol: Annotated[
        str | None,
        typer.Option(help="What the cross-validation holds out, see `study` (tables only) [default: across-subject]."),
    ] = None,
    robustness: options.Robustness = True,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of every random number (tables only) [default: 0].")
    ] = None,
    strict: options.Strict = False,
):
    """Fit the Bayesian fusion, cross-validated by subject, and write the report.

    Fits that already exist are not repeated. An option that is left out takes its default, not the value given to an
    earlier `fuse` of the workspace.
    """
    from bayesaffect.pipeline import settings as study_settings
    from bayesaffect.pipeline import study as stage

    sampler = {"draws": draws, "chains": chains, "engine": engine}
    sampler |= {"likelihood": likelihood, "pooling": pooling, "gains": gains, "hybrid": hybrid}
    sampler |= {"joint": joint, "robustness": robustness}
    if workspace is None and source.is_file():
        raise InputError(
            "is a table, and no workspace was named", where=source, remedy="give one: bayesaffect fuse TABLE WORKSPACE"
        )
    if workspace is None:
        if (folds, protocol, seed) != (None, None, None) or bounds:
            raise InputError(
                "folds, protocol, seed and rating scales of a workspace are those it was made with",
                remedy="leave --folds, --protocol, --seed and --bounds out, or fuse a table into a new workspace",
            )
        findings = _resume(source, **sampler)
    else:
        reading = {"bounds": _bounds(bounds)} if bounds else {}
        given = {"folds": folds or 10, "seed": seed or 0, "protocol": protocol or "across-subject", **sampler}
        settings = study_settings.from_options(source, "opinions", reading=reading, **given)
        with progress.shown(console):
            page, findings = stage.fuse_table(workspace, settings, command=command())
        _report(workspace, page, findings)
    end(findings, strict)


def report(
    workspaces: Annotated[
        list[Path], typer.Argument(metavar="WORKSPACE...", help="A workspace; with --compare two or more.")
    ],
    compare: Annotated[
        bool, typer.Option("--compare", help="Set several studies side by side, on a page of its own.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the comparison (with --compare only) [default: comparison].")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write a summary in Markdown, with figures and records, to this folder, too.")
    ] = None,
):
    """Write WORKSPACE/report again: the page, figures and tables. Or compare several studies."""
    if compare:
        if markdown is not None:
            raise InputError("a comparison has no summary in Markdown", remedy="leave out --markdown")
        from bayesaffect.report.compare import write_comparison

        page = write_comparison(workspaces, folder(out or Path("comparison")), command=command())
        say(f"page: {page}")
        return
    if len(workspaces) > 1:
        raise InputError(f"{len(workspaces)} workspaces were named", remedy="add --compare to set them side by side")
    if out is not None:
        raise InputError("--out is the folder of a comparison", remedy="add --compare, or leave --out out")
    if markdown is not None:
        folder(markdown)
    findings = _resume(workspaces[0])
    if markdown is not None:
        from bayesaffect.report.markdown import write_markdown

        again = " && ".join([*findings.command.splitlines(), command()])
        say(f"summary: {write_markdown(findings, markdown, command=again)}")


def study(
    dataset: options.Dataset,
    workspace: options.Workspace,
    format: options.Format = None,
    window: options.Window = None,
    align: options.Align = None,
    baseline: options.Baseline = "trials",
    face: options.Backend = "embedded",
    eeg: options.Eeg = "maps",
    quality: options.Quality = 0.1,
    folds: options.Folds = 5,
    members: options.Members = 3,
    passes: options.Passes = 10,
    uncertainty: options.Uncertainty = "distance",
    epochs: options.Epochs = 40,
    network: options.Networks = None,
    draws: options.Draws = 1000,
    chains: options.Chains = 4,
    joint: options.Joint = False,
    hybrid: options.Hybrid = False,
    protocol: options.Protocol = "across-subject",
    robustness: options.Robustness = True,
    flat: options.Flat = False,
    seed: options.Seed = 0,
    jobs: options.Jobs = 2,
    device: options.Device = "cpu",
    strict: options.Strict = False,
):
    """Do it all: prepare, train, fuse, report. Stopped at any moment, the same command goes on."""
    from bayesaffect.pipeline import prepare as preparing
    from bayesaffect.pipeline import settings as study_settings
    from bayesaffect.pipeline import study as stage
    from bayesaffect.pipeline import train as training

    settings = study_settings.from_options(
        dataset, format, window=window, align=align, baseline=baseline, face_backend=face, eeg_input=eeg,
        minimum_quality=quality, folds=folds, members=members, passes=passes, method=uncertainty, epochs=epochs,
        networks=_networks(network or []), draws=draws, chains=chains, joint=joint, hybrid=hybrid,
        protocol=protocol, robustness=robustness, nested=not flat, seed=seed,
    )  # fmt: skip
    who = training.execution(workspace, settings, jobs=jobs if device == "cpu" else None, device=device)
    preparing.scan(settings)
    with progress.shown(console):
        page, findings = stage.run(workspace, settings, command=command(), jobs=jobs, who=who, announce=say)
    _report(workspace, page, findings)
    end(findings, strict)


def demo(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for the simulated recordings, the workspace and the page.")
    ],
    seed: options.Seed = 0,
    jobs: options.Jobs = 2,
):
    """Simulate a small data set, run the whole study on it, and print where the page is."""
    from bayesaffect.pipeline import demo as stage

    folder(out)
    with progress.shown(console):
        page, findings = stage.run(out, seed=seed, command=command(), jobs=jobs)
    _report(out / "workspace", page, findings)


def _resume(workspace: Path, **changed) -> Findings:
    """Fuse what is trained (finished fits are not repeated) and write the report."""
    from bayesaffect.pipeline import study as stage

    with progress.shown(console):
        page, findings = stage.resume(workspace, command=command(), **changed)
    _report(workspace, page, findings)
    return findings


def _report(workspace: Path, page: Path, findings: Findings):
    from bayesaffect.pipeline import stages

    say(*stages.sentences(workspace))
    print_findings(findings, page)


def _bounds(given: list[str]) -> dict[str, tuple[float, float]]:
    """``["valence=1:9"]`` -> ``{"valence": (1.0, 9.0)}``."""
    bounds = {}
    for text in given:
        name, _, scale = text.partition("=")
        low, _, high = scale.partition(":")
        try:
            bounds[name] = (float(low), float(high))
        except ValueError:
            raise InputError(f"--bounds {text!r} is not understood", remedy="write it as valence=1:9") from None
    return bounds


def _networks(given: list[str]) -> dict[str, str]:
    """``["eeg=mine.nets:Deep"]`` -> ``{"eeg": "mine.nets:Deep"}``."""
    networks = {}
    for text in given:
        name, _, place = text.partition("=")
        if not name or ":" not in place:
            raise InputError(f"--network {text!r} is not understood", remedy="write it as eeg=package.module:callable")
        networks[name] = place
    return networks
