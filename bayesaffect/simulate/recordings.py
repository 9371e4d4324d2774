"""A simulated MAHNOB-HCI data set on disk: BDF, AVI and session.xml in the places and units of the real one."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import joblib
import numpy as np

from bayesaffect.errors import InputError
from bayesaffect.files import atomic, write_text
from bayesaffect.progress import track
from bayesaffect.simulate import brain, face, physiology
from bayesaffect.simulate import traps as defects_of
from bayesaffect.simulate.bdf import write_bdf
from bayesaffect.simulate.sheet import describe_session, rename_answers
from bayesaffect.simulate.timing import draw_timing
from bayesaffect.simulate.truth import Truth, draw_truth, generator, save_truth

_FULL = tuple(n for n in range(1, 31) if n not in (12, 15, 26))
_FULL_MISSING = {3: 3, 9: 6, 16: 4}


@dataclass(frozen=True)
class Layout:
    """How long and how large simulated sessions are.

    Parameters
    ----------
    clip_seconds : shortest and longest clip (s); each stimulus has its own length.
    margin : s of physiology recorded before and after the clip; the video covers about half of each.
    video_rate : frames per second, not an integer as in the real set.
    image_size : (width, height) in pixels; from 160 x 120 on the cascade finds the face.
    rate : Hz of the BDF.
    traps : whether the usual defects of the real set are put in; ``None``: from 6 subjects and 6 clips on; ``"all"``:
        every defect of `traps.KINDS`, a neutral clip per subject and gaze tables.
    neutral : also write the neutral clip (isStim="0") that precedes each stimulus; a number: only the first so many.
    gaze : also write a gaze table beside each stimulus.
    variant : ``"mahnob"``, or ``"tutorial"`` for other names, rates and scales (see `write_tutorial`).
    """

    clip_seconds: tuple[float, float] = (20.0, 30.0)
    margin: float = 30.0
    video_rate: float = 15.02
    image_size: tuple[int, int] = (160, 120)
    rate: int = 256
    traps: bool | str | None = None
    neutral: bool | int = False
    gaze: bool = False
    variant: str = "mahnob"

    def __post_init__(self):
        low, high = self.clip_seconds
        if not 0 < low <= high or self.margin < 1 or self.video_rate <= 0:
            raise InputError(
                f"clips of {low}-{high} s, a margin of {self.margin} s and {self.video_rate} frames/s "
                "cannot be simulated",
                remedy="give 0 < shortest <= longest, a margin of at least 1 s and a positive rate",
            )
        if self.traps not in (None, False, True, "all") or self.variant not in ("mahnob", "tutorial"):
            raise InputError(
                f"traps {self.traps!r} of the variant {self.variant!r} cannot be simulated",
                remedy='traps are True, False, None or "all"; variants are "mahnob" and "tutorial"',
            )


def write_mahnob(
    folder: str | Path,
    *,
    subjects: int = 8,
    clips: int = 8,
    seed: int,
    scale: str | None = None,
    layout: Layout | None = None,
    jobs: int = 1,
) -> Path:
    """Write a MAHNOB-HCI-style data set and the truth behind it; returns the folder.

    Files: ``Sessions/<sid>/session.xml``, ``Part_<subject>_S_Trial<trial>_emotion.bdf``, ``P<subject>-... .avi``;
    ``truth.json`` and ``truth.csv`` beside ``Sessions`` (see `truth.read_truth`).

    Parameters
    ----------
    jobs : processes that write; the files do not depend on it.
    scale : ``"full"`` for the real set's 27 subjects x 20 clips with its 527 trials, whatever the two numbers say.

    A session whose session.xml (written last) is there is left alone, so an interrupted run can be started again.
    The result depends on the arguments only. Traps put in (named in truth.json under ``settings.traps``): a subject
    without the last trial, a recording with one trigger, one without video, one without felt* attributes, one with a
    constant EEG channel, and with ``Layout(traps="all")`` every one of `traps.KINDS`; always: a video rate that is not
    an integer, spaces in its name, skin resistance in Ohm for odd subjects, conductance in 31.25 nS for even ones.

    Raises
    ------
    InputError : the folder holds another simulated data set, or the scale is unknown.
    """
    folder, layout = Path(folder), layout or Layout()
    if scale not in (None, "full"):
        raise InputError(f"scale {scale!r} is unknown", remedy='leave it out or give "full"')
    numbers, missing = list(range(1, subjects + 1)), {}
    if scale == "full":
        numbers, clips, missing = list(_FULL), 20, dict(_FULL_MISSING)
    trapped = layout.traps if layout.traps is not None else len(numbers) >= 6 and clips >= 6
    if trapped and not missing:
        missing = {numbers[2 % len(numbers)]: 1}
    traps = {}
    if trapped:
        traps = defects_of.place_usual(numbers, clips)
    if trapped == "all":
        traps = defects_of.place_all(numbers, clips, missing)
        layout = replace(layout, neutral=layout.neutral or 1, gaze=True)
    truth = draw_truth(subjects=numbers, clips=clips, seed=seed, missing=missing)
    # options that came later are named only where they are used, so that older folders stay the same
    later = {f.name for f in fields(Layout) if f.name in ("gaze", "variant") and getattr(layout, f.name) == f.default}
    said = {name: value for name, value in asdict(layout).items() if name not in later}
    settings = {"subjects": numbers, "clips": clips, "seed": seed, "layout": said, "traps": traps}
    settings = json.loads(json.dumps(settings))
    _claim(folder, truth, settings)
    names = truth.subjects["subject"].values.tolist()
    task = joblib.delayed(_write_subject)
    calls = (task(folder, truth, name, layout, traps) for name in names)
    written = joblib.Parallel(n_jobs=min(jobs, len(names)), return_as="generator_unordered")(calls)
    for _ in track(written, "simulate subjects", total=len(names)):
        pass
    return folder


def _claim(folder: Path, truth: Truth, settings: dict) -> None:
    """Write the truth first; refuse a folder that holds the truth of another data set."""
    path = folder / "truth.json"
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["settings"]
        except (ValueError, KeyError):
            found = None
        if found != settings:
            raise InputError(
                "holds a data set simulated otherwise", where=folder, remedy="choose another folder or remove it"
            )
    elif (folder / "Sessions").exists():
        raise InputError("holds Sessions that were not simulated here", where=folder, remedy="choose another folder")
    save_truth(folder, truth, settings)


def _write_subject(folder: Path, truth: Truth, subject: str, layout: Layout, traps: dict) -> None:
    person = truth.subjects.sel(subject=subject)
    number = int(person["number"])
    rng = generator(truth.seed, 4, number)
    traits = {
        "brain": brain.draw_brain(rng),
        "body": physiology.draw_body(rng),
        "looks": face.draw_looks(rng),
        "drawn": {},
        "dead": bool(person["gsr_dead"]),
        "ohm": number % 2 == 1,
    }
    own = truth.trials.isel(trial=np.flatnonzero(truth.trials["subject"].values == subject))
    for name in own["trial"].values.tolist():
        row = own.sel(trial=name)
        defects = {kind for kind, where in traps.items() if where == name}
        clip = truth.stimuli["stimulus"].values.tolist().index(str(row["stimulus"].values))
        length = float(generator(truth.seed, 5, clip).uniform(*layout.clip_seconds))
        section = 2 * int(row["number"])
        if layout.neutral is True or int(row["number"]) <= layout.neutral:
            quiet = row.assign(evidence=row["evidence"] * 0)
            _write_session(folder, truth.seed, number, section - 1, quiet, length, traits, layout, defects=set())
        _write_session(folder, truth.seed, number, section, row, length, traits, layout, defects=defects)


def _write_session(folder, seed, number, section, row, length, traits, layout, *, defects) -> None:
    home = folder / "Sessions" / str((number - 1) * 130 + section)
    if (home / "session.xml").exists():
        return
    rng = generator(seed, 6, number, section)
    timing = draw_timing(length, layout.margin, layout.video_rate, layout.rate, rng)
    kind = "S" if section % 2 == 0 else "N"
    bdf = f"Part_{number}_{kind}_Trial{(section + 1) // 2}_emotion.bdf"
    avi = f"P{number}-Rec1-2010.01.{number:02d}.10.00.00_C1 trigger _C_Section_{section}.avi"
    evidence = row["evidence"]
    eeg = brain.simulate_eeg(evidence.sel(modality="eeg").values, timing, traits["brain"], layout.rate, rng)
    defects_of.spoil_eeg(eeg, defects)
    body = physiology.simulate_body(evidence.sel(modality="physio").values, timing, traits["body"], layout.rate, rng)
    if "no_bdf" not in defects:
        with atomic(home / bdf) as path:
            write_bdf(path, eeg, body, timing, traits, layout.rate, defects=defects, variant=layout.variant)
            if "bdf_cut" in defects:
                defects_of.cut_short(path)
    if "bad_video" in defects:
        write_text(home / avi, "this is no film\n")
    elif not defects & {"no_video", "one_track"}:
        looks, drawn = traits["looks"], traits["drawn"]
        with atomic(home / avi) as path:
            face.write_video(
                path, evidence.sel(modality="face").values, timing, looks, layout.image_size, rng=rng, drawn=drawn
            )
    felt = kind == "S" and "no_felt" not in defects
    root = describe_session(number, section, row, timing, bdf, avi, felt=felt, rng=rng)
    if layout.variant == "tutorial":
        rename_answers(root)
    if layout.gaze and kind == "S":
        gaze = f"P{number}-Rec1-All-Data-New_Section_{section}.tsv"
        write_text(home / gaze, defects_of.gaze_table(timing.stop - timing.start))
        ET.SubElement(root.find("track"), "annotation", type="Gaze", filename=gaze)
    defects_of.spoil_sheet(root, defects)
    ET.indent(root)
    text = '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"
    if "no_xml" not in defects:
        write_text(home / "session.xml", text[: len(text) // 2] if "xml_broken" in defects else text)
