"""The demonstration: a small simulated data set on disk, and the whole study on it."""

from __future__ import annotations

from pathlib import Path

from bayesaffect.files import write_text
from bayesaffect.pipeline import study
from bayesaffect.pipeline.settings import from_options
from bayesaffect.report.findings import Findings
from bayesaffect.simulate import Layout, write_mahnob

SUBJECTS, CLIPS = 10, 12
LAYOUT = Layout(clip_seconds=(16.0, 22.0), margin=7.0)


def run(out: Path, *, seed: int, command: str, jobs: int = 1) -> tuple[Path, Findings]:
    """Write ``OUT/recordings``, run the study in ``OUT/workspace``, and copy its page to ``OUT/index.html``."""
    write_mahnob(out / "recordings", subjects=SUBJECTS, clips=CLIPS, seed=seed, layout=LAYOUT, jobs=jobs)
    settings = from_options(out / "recordings", "mahnob", window=15.0, folds=4, seed=seed)
    page, findings = study.run(out / "workspace", settings, command=command, jobs=jobs)
    write_text(out / "index.html", page.read_text(encoding="utf-8"))
    return out / "index.html", findings
