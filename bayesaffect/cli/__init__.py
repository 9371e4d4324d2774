"""The command line: each verb is one function of the pipeline; heavy imports wait until a verb runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from bayesaffect import __version__, progress
from bayesaffect.errors import InputError

if TYPE_CHECKING:
    from bayesaffect.pipeline.settings import Settings
    from bayesaffect.report.findings import Findings

app = typer.Typer(
    help="Predict what people felt from EEG, face video and physiology, with honest uncertainty. "
    "Start with `bayesaffect demo OUT`, or with `bayesaffect study DATASET WORKSPACE` on recordings of your own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
published = typer.Typer(
    help="Turn published predictions into opinions tables, for `bayesaffect fuse`.", no_args_is_help=True
)
app.add_typer(published, name="opinions")
console = Console()
LISTED = 8

Dataset = Annotated[Path, typer.Argument(metavar="DATASET", help="Folder of the recordings (read only).")]
Workspace = Annotated[
    Path, typer.Argument(metavar="WORKSPACE", help="Folder for all results; made if it is not there.")
]
Existing = Annotated[Path, typer.Argument(metavar="WORKSPACE", help="Workspace of an earlier command.")]
Format = Annotated[str, typer.Option("--format", help="mahnob (session folders) or e4 (Empatica E4 folders).")]
Jobs = Annotated[int, typer.Option(min=1, help="Worker processes.")]
Seed = Annotated[int, typer.Option(help="Every random number of the study follows from it.")]
Folds = Annotated[int, typer.Option(min=2, help="Groups of subjects in the cross-validation.")]
Members = Annotated[int, typer.Option(min=1, help="Networks per ensemble.")]
Passes = Annotated[int, typer.Option(min=1, help="Dropout passes per network; 1 switches dropout off in predictions.")]
Epochs = Annotated[int, typer.Option(min=1, help="At most so many epochs per network.")]
Draws = Annotated[int, typer.Option(min=10, help="Posterior draws per chain (and as many to warm up).")]
Chains = Annotated[int, typer.Option(min=1, help="Chains.")]
Flat = Annotated[bool, typer.Option("--flat", help="Skip the nested fits: faster, but fusion then meets test labels.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with code 3 if the posterior's diagnostics fail.")]
Align = Annotated[
    str | None,
    typer.Option(help="mahnob: place the video by the audio-clock (default) or centred on the clip."),
]
Window = Annotated[
    float | None,
    typer.Option(help="Seconds analysed per trial [default: the last 30 of a clip; windows of 60 for e4].", min=2),
]


def main(arguments: Sequence[str] | None = None):
    """Entry point: a user's mistake is one sentence and exit code 2, an interrupt is code 130."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="bayesaffect")
    except InputError as error:
        print(f"bayesaffect: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("bayesaffect: stopped; the same command goes on where it was", file=sys.stderr)
        sys.exit(130)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False):
    """Called before every verb."""
    if show:
        print(f"bayesaffect {__version__}")
        raise typer.Exit


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the recordings.")],
    subjects: Annotated[int, typer.Option(min=2, help="Number of subjects.")] = 8,
    clips: Annotated[int, typer.Option(min=2, help="Number of film clips.")] = 8,
    seed: Seed = 0,
    scale: Annotated[
        str | None, typer.Option(help="full: 27 subjects x 20 clips with the missing trials of the real set.")
    ] = None,
    jobs: Jobs = 2,
):
    """Write MAHNOB-HCI session folders (BDF, AVI, XML) with a known truth beside them."""
    from bayesaffect.simulate import write_mahnob

    with progress.shown(console):
        write_mahnob(out, subjects=subjects, clips=clips, seed=seed, scale=scale, jobs=jobs)
    console.print(f"recordings: {out}", soft_wrap=True)
    console.print(f"next: bayesaffect study {out} WORKSPACE --format mahnob", soft_wrap=True)


@app.command()
def prepare(
    dataset: Dataset,
    workspace: Workspace,
    format: Format = "mahnob",
    window: Window = None,
    align: Align = None,
    listing: Annotated[bool, typer.Option("--list", help="Print every omission, not only the first ones.")] = False,
    jobs: Jobs = 2,
):
    """Read, synchronise and cache recordings; say what was found, what is missing and why."""
    from bayesaffect.io import store
    from bayesaffect.pipeline import prepare as stage
    from bayesaffect.pipeline import settings as study_settings

    settings = _settings(dataset, format, window=window, reading=_reading(format, align))
    stage.scan(settings)  # a wrong folder is refused before a workspace is made
    store.open_workspace(workspace, create=True)
    study_settings.save(settings, workspace)
    with progress.shown(console):
        trials = stage.prepare(workspace, settings, jobs=jobs)
    _print_trials(trials, workspace, listing)


@app.command()
def features(
    workspace: Existing,
    suffix: Annotated[str, typer.Option("--as", help="csv, parquet or npz.")] = "csv",
):
    """Write the features of every modality as tables, one row per trial, for analyses of your own."""
    from bayesaffect.pipeline import features as stage
    from bayesaffect.pipeline import prepare as preparing
    from bayesaffect.pipeline import settings as study_settings

    settings = study_settings.load(workspace)
    with progress.shown(console):
        trials = preparing.prepare(workspace, settings)
    for path in stage.export(trials, workspace / "features", suffix=suffix):
        console.print(f"features: {path}", soft_wrap=True)


@app.command()
def train(
    workspace: Existing,
    folds: Folds = 5,
    members: Members = 3,
    passes: Passes = 10,
    epochs: Epochs = 40,
    flat: Flat = False,
    seed: Seed = 0,
    jobs: Jobs = 2,
):
    """Train the networks and predict every subject by networks that did not see that subject."""
    from dataclasses import replace

    from bayesaffect.pipeline import prepare as preparing
    from bayesaffect.pipeline import settings as study_settings
    from bayesaffect.pipeline import train as stage

    old = study_settings.load(workspace)
    settings = replace(
        old,
        folds=folds,
        nested=not flat,
        seed=seed,
        ensemble=replace(old.ensemble, members=members, passes=passes),
        training=replace(old.training, epochs=epochs),
    )
    with progress.shown(console):
        trials = preparing.prepare(workspace, settings, jobs=jobs)
        study_settings.save(settings, workspace)
        cross = stage.train(workspace, settings, trials, jobs=jobs)
    console.print(f"opinions of {', '.join(cross.out_of_fold)}: {workspace / 'opinions'}", soft_wrap=True)
    console.print(f"next: bayesaffect fuse {workspace}", soft_wrap=True)


@app.command()
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
    draws: Draws = 1000,
    chains: Chains = 4,
    seed: Seed = 0,
    strict: Strict = False,
):
    """Fit the Bayesian fusion, cross-validated by subject, and write the report."""
    from bayesaffect.pipeline import study as stages

    if workspace is None and source.is_file():
        raise InputError(
            "is a table, and no workspace was named", where=source, remedy="give one: bayesaffect fuse TABLE WORKSPACE"
        )
    if workspace is None:
        if folds is not None:
            raise InputError(
                "the folds of a workspace are those its networks were trained with", remedy="leave --folds out"
            )
        findings = _resume(source, draws=draws, chains=chains)
    else:
        reading = {"bounds": _bounds(bounds)} if bounds else {}
        settings = _settings(
            source, "opinions", reading=reading, folds=folds or 10, draws=draws, chains=chains, seed=seed
        )
        with progress.shown(console):
            page, findings = stages.fuse_table(workspace, settings, command=_command())
        _print_findings(findings, page)
    _end(findings, strict)


@app.command()
def weights(workspace: Existing):
    """Print the posterior weight of every modality, for a new person and for each subject, and the weakest sensor."""
    from bayesaffect.pipeline import weights as stage

    for target, table in stage.tables(workspace).items():
        console.print(_rich(table, f"{target}: share in the fused posterior, median [90 % interval]"))
    console.print(
        f"the same in long form: {workspace / 'fusion' / 'weights_<target>.csv'}", soft_wrap=True, markup=False
    )


@app.command()
def report(workspace: Existing):
    """Write WORKSPACE/report again: the page, figures and tables."""
    _resume(workspace)


@app.command()
def study(
    dataset: Dataset,
    workspace: Workspace,
    format: Format = "mahnob",
    window: Window = None,
    align: Align = None,
    folds: Folds = 5,
    members: Members = 3,
    passes: Passes = 10,
    epochs: Epochs = 40,
    draws: Draws = 1000,
    chains: Chains = 4,
    flat: Flat = False,
    seed: Seed = 0,
    jobs: Jobs = 2,
    strict: Strict = False,
):
    """Do it all: prepare, train, fuse, report. Stopped at any moment, the same command goes on."""
    from bayesaffect.pipeline import prepare as preparing
    from bayesaffect.pipeline import study as stages

    settings = _settings(
        dataset, format, window=window, reading=_reading(format, align), folds=folds, members=members, passes=passes,
        epochs=epochs, draws=draws, chains=chains, nested=not flat, seed=seed,
    )  # fmt: skip
    preparing.scan(settings)
    with progress.shown(console):
        page, findings = stages.run(workspace, settings, command=_command(), jobs=jobs)
    _print_findings(findings, page)
    _end(findings, strict)


@app.command()
def demo(
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for the simulated recordings, the workspace and the page.")
    ],
    seed: Seed = 0,
    jobs: Jobs = 2,
):
    """Simulate a small data set, run the whole study on it, and print where the page is."""
    from bayesaffect.pipeline import demo as stage

    with progress.shown(console):
        page, findings = stage.run(out, seed=seed, command=_command(), jobs=jobs)
    _print_findings(findings, page)


@published.command("crema-d")
def crema_d(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that holds tabulatedVotes.csv.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Table to write (CSV or Parquet).")],
):
    """Votes of CREMA-D's raters on voice and face -> the emotion that the actor was asked to show."""
    from bayesaffect.io import published as tables

    _print_table(tables.crema_d(folder, out))


@published.command()
def epic(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The .npz of the seven models' predictions.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Table to write (CSV or Parquet).")],
):
    """EPiC 2023: seven models' mean valence and arousal per file."""
    from bayesaffect.io import published as tables

    _print_table(tables.epic(file, out))


def _settings(
    dataset: Path, format: str, *, window: float | None = None, reading: dict | None = None, **given
) -> Settings:
    """Settings from the options of a verb; an option that was not given keeps its default."""
    from bayesaffect.pipeline.settings import from_options

    return from_options(dataset, format, window=window, reading=reading or {}, **given)


def _resume(workspace: Path, **changed) -> Findings:
    """Fuse what is trained (finished fits are not repeated) and write the report."""
    from bayesaffect.pipeline import study as stages

    with progress.shown(console):
        page, findings = stages.resume(workspace, command=_command(), **changed)
    _print_findings(findings, page)
    return findings


def _reading(format: str, align: str | None) -> dict:
    """Options of the reader."""
    if align is None:
        return {}
    if format != "mahnob" or align not in ("audio-clock", "centred"):
        raise InputError(f"--align {align} does not fit format {format}", remedy="mahnob takes audio-clock or centred")
    return {"align": align}


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


def _command() -> str:
    return " ".join(["bayesaffect", *sys.argv[1:]])


def _end(findings: Findings, strict: bool):
    if strict and findings.failures:
        raise typer.Exit(3)


def _rich(frame, title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for k, name in enumerate(frame.columns):
        table.add_column(str(name), justify="left" if k == 0 else "right")
    for row in frame.itertuples(index=False):
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row))
    return table


def _print_trials(trials, workspace: Path, listing: bool):
    present = trials.present.values.sum(0)
    subjects = len(set(map(str, trials.subject.values)))
    console.print(f"{trials.present.sizes['trial']} trials of {subjects} subjects")
    for modality, count in zip(trials.modalities, present, strict=True):
        console.print(f"  {modality}: {count} trials, missing in {trials.present.sizes['trial'] - count}")
    console.print(
        f"left out or masked: {len(trials.omissions)}, listed in {workspace / 'prepared' / 'omissions.csv'}",
        soft_wrap=True,
    )
    shown = trials.omissions if listing else trials.omissions[:LISTED]
    for o in shown:
        remedy = f"; {o.remedy}" if o.remedy else ""
        console.print(f"  {o.scope} {o.where}: {o.what}{remedy}", soft_wrap=True, markup=False)
    if rest := len(trials.omissions) - len(shown):
        console.print(f"  ... and {rest} more (--list prints all)")
    console.print(f"next: bayesaffect train {workspace}", soft_wrap=True)


def _print_table(out: Path):
    console.print(f"opinions: {out}", soft_wrap=True)
    console.print(f"next: bayesaffect fuse {out} WORKSPACE --folds 10", soft_wrap=True)


def _print_findings(findings: Findings, page: Path):
    for failure in findings.failures[:5]:
        console.print(f"diagnostics: {failure}", markup=False, soft_wrap=True)
    for line in findings.summary[:5]:
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"page: {page}", soft_wrap=True)
