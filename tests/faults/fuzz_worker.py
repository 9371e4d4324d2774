"""Damage one file of a small data set again and again, read it, and print what came of it, one JSON line per case.

    python fuzz_worker.py KIND COUNT SEED FOLDER

Run in a process of its own, because what is looked for includes crashes of the interpreter, hangs and memory.
"""

from __future__ import annotations

import importlib
import json
import random
import resource
import shutil
import signal
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np

from bayesaffect.errors import InputError
from bayesaffect.signals.extract import Extraction, extract
from bayesaffect.simulate import Layout, write_mahnob, write_tutorial
from bayesaffect.types import Video

SECONDS = 60  # per case: more is a hang
TOKENS = (
    "nan inf -inf -1 0 1e308 -1e308 99999999999999999999 NaN;;, [[[ \x00 é \" ' <a> = # 1..2 2026-01-01 true".split(" ")
)
NUMBERS = b"-1      |0       |99999999|nan     |        |1e9     |0.0001  |abc     ".split(b"|")


def sessions(home: Path) -> Path:
    layout = Layout(clip_seconds=(6.0, 6.5), margin=2.0, video_rate=8.02, traps=False)
    return write_mahnob(home, subjects=2, clips=1, seed=1, layout=layout)


def wristband(home: Path) -> Path:
    place, start, rng = home / "Raw_data" / "S01", 1_600_000_000, np.random.default_rng(0)
    place.mkdir(parents=True)
    for name, rate, columns in (("BVP", 64, 1), ("EDA", 4, 1), ("TEMP", 4, 1), ("ACC", 32, 3), ("HR", 1, 1)):
        rows = [f"{','.join([str(v)] * columns)}" for v in (float(start), float(rate))]
        rows += [",".join(f"{v:.3f}" for v in row) for row in 30 + rng.random((150 * rate, columns))]
        (place / f"{name}.csv").write_text("\n".join(rows) + "\n")
    (place / "IBI.csv").write_text(f"{start}.0, IBI\n" + "".join(f"{k * 0.8:.2f},0.8\n" for k in range(1, 180)))
    rows = [f"1,70,13.0,{start + k},{int(k >= 75)}" for k in range(150)]
    (home / "Processed_data").mkdir()
    (home / "Processed_data" / "labels.csv").write_text("\n".join(["Participant,HR,respr,Time(sec),Label", *rows]))
    return home


def openface(home: Path) -> Path:
    sessions(home)
    names = ["frame", "face_id", "timestamp", "confidence", "success", "AU01_r", "AU06_r", "AU12_r", "AU12_c"]
    names += [f"{axis}_{k}" for axis in "xy" for k in range(68)]
    rng = np.random.default_rng(0)
    face = np.full((2, 68), 60.0) + np.array([[20.0], [10.0]]) * np.linspace(-1, 1, 68)
    face[:, 36:42], face[:, 42:48] = [[68.0], [52.0]], [[92.0], [52.0]]  # the eyes
    rows = [
        [k + 1, 0, k / 8.02, 0.98, 1, *rng.random(3), 1, *(face + rng.normal(0, 0.2, face.shape)).ravel()]
        for k in range(80)
    ]
    text = "\n".join([", ".join(names), *(", ".join(f"{v:.4g}" for v in row) for row in rows)])
    for film in home.rglob("*.avi"):
        film.with_suffix(".csv").write_text(text)
    return home


# kind -> how the data set is made, its reader, which file is damaged, is it text, window
KINDS = {
    "bdf": (sessions, "mahnob", "*.bdf", False, 5.0),
    "avi": (sessions, "mahnob", "*.avi", False, 5.0),
    "xml": (sessions, "mahnob", "session.xml", True, 5.0),
    "e4": (wristband, "e4", "*.csv", True, None),
    "openface": (openface, "mahnob", "*.csv", True, 5.0),
    "toml": (lambda home: write_tutorial(home, subjects=2, clips=1, seed=1), "description", "*.toml", True, 5.0),
}


def damaged(content: bytes, rng: random.Random, *, text: bool) -> bytes:
    """The content cut short, with bytes or fields changed, or with pieces lost, doubled or swapped."""
    if not content:
        return b"x"
    way = rng.choice(
        ("cut", "bytes", "field", "lose", "double") + (("token",) * 4 + ("line",) if text else ("head",) * 4)
    )
    size = len(content)
    place = rng.randrange(size)
    if way == "cut":
        return content[:place]
    if way == "bytes":
        out = bytearray(content)
        for _ in range(rng.choice((1, 4, 64))):
            out[rng.randrange(min(size, rng.choice((256, 4096, size))))] = rng.randrange(256)
        return bytes(out)
    if way in ("head", "field"):  # fixed-width numbers of a header
        place = rng.randrange(min(size, 12000)) // 8 * 8
        return content[:place] + rng.choice(NUMBERS) + content[place + 8 :]
    if way == "lose":
        return content[:place] + content[place + rng.choice((1, 100, size // 3)) :]
    if way == "double":
        return content[:place] + content[max(0, place - rng.choice((1, 100, size // 3))) :]
    lines = content.decode("utf-8", errors="replace").split("\n")
    at = rng.randrange(min(len(lines), rng.choice((4, 40, len(lines)))) or 1)
    if way == "line":
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    else:
        words = lines[at].replace(",", " , ").replace('"', ' " ').split(" ")
        words[rng.randrange(len(words))] = rng.choice(TOKENS)
        lines[at] = "".join(words) if rng.random() < 0.7 else " ".join(words)
    return "\n".join(lines).encode("utf-8", errors="replace")


def attempt(home: Path, reader, window: float | None, *, tables: bool) -> str:
    """What a user would meet: ``result``, ``omission`` (something is listed) or ``sentence``."""
    settings = Extraction(window_s=window, connectivity=False, face_backend="tables" if tables else "embedded")
    reading = {"window_s": 60.0, "step_s": 60.0} if reader.__name__.endswith("e4") else {}
    said = []
    try:
        folder = next(home.glob("*.toml")) if reader.__name__.endswith("description") else home
        listing = reader.scan(folder)
    except InputError as error:
        check(error)
        return "sentence"
    listed, used = len(listing.omissions), 0
    for source in listing.sources:
        try:
            recording, omissions = reader.read(source, targets=listing.targets, **reading)
            if tables:
                videos = {
                    name: Video(v.path, v.start, v.rate, str(Path(v.path).with_suffix(".csv")))
                    for name, v in recording.videos.items()
                }
                object.__setattr__(recording, "videos", videos)
            trials = extract(recording, listing.modalities, settings)
        except InputError as error:
            check(error)
            said.append(str(error))
            continue
        used += 1
        listed += len(omissions) + len(trials.omissions)
    return "sentence" if said else "omission" if listed else "result"


def check(error: InputError):
    """One line with something in it."""
    text = str(error)
    if not text.strip() or "\n" in text or len(text) > 1500:
        raise ValueError(f"not one clear sentence: {text[:300]!r}")


def main(kind: str, count: int, seed: int, folder: Path):
    build, name, pattern, text, window = KINDS[kind]
    reader = importlib.import_module(f"bayesaffect.io.{name}")
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TimeoutError("hangs")))
    warnings.filterwarnings("error", module="bayesaffect")
    build(folder / "whole")
    for case in range(seed, seed + count):
        rng, home = random.Random(f"{kind} {case}"), folder / "case"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(folder / "whole", home)
        path = rng.choice(sorted(home.rglob(pattern)))
        path.write_bytes(damaged(path.read_bytes(), rng, text=text))
        print(json.dumps({"case": case, "begun": path.name}), flush=True)
        signal.alarm(SECONDS)
        try:
            outcome = attempt(home, reader, window, tables=kind == "openface")
        except Exception:
            outcome = traceback.format_exc(limit=-6)
        finally:
            signal.alarm(0)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({"case": case, "outcome": outcome, "peak_gib": peak}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
