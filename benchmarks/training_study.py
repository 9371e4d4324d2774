"""The trials that training is timed on: inputs of the real sets' shapes with a signal of a known strength."""

from __future__ import annotations

import numpy as np
import xarray as xr

from bayesaffect.types import Target, Trials
from bayesaffect.uncertainty import data

TARGETS = (
    Target("valence", bounds=(1.0, 9.0)),
    Target("arousal", bounds=(1.0, 9.0)),
    Target("emotion", levels=tuple("abcdefghi")),
)
SHAPES = {
    "eeg": {"maps": (("band", 5), ("channel", 32), ("frame", 24))},
    "face": {
        "crops": (("frame", 16), ("row", 24), ("column", 24)),
        "visible": (("frame", 16),),
        "features": (("feature", 40),),
    },
    "physio": {"series": (("signal", 5), ("time", 60)), "features": (("feature", 40),)},
}
NETWORKS = {m: (m,) for m in SHAPES} | {"early": tuple(SHAPES)}
CLIPS = 20


def make(subjects: int, *, gain: float = 0.25, seed: int = 0) -> Trials:
    """Every input is noise plus ``gain`` times a fixed random pattern times valence, and another times arousal."""
    rng = np.random.default_rng(seed)
    n = subjects * CLIPS
    ratings = rng.uniform(-1, 1, (n, 2))
    thirds = np.minimum((ratings + 1) * 1.5, 2).astype(int)
    trial = [f"S{i // CLIPS:02d}/T{i % CLIPS:02d}" for i in range(n)]
    subject, stimulus = zip(*(t.split("/") for t in trial), strict=True)
    coords = {"trial": trial, "subject": ("trial", list(subject)), "stimulus": ("trial", list(stimulus))}
    inputs = {m: _block(variables, ratings, coords, gain, rng, m) for m, variables in SHAPES.items()}
    present = xr.DataArray(
        np.ones((n, len(SHAPES)), bool), dims=("trial", "modality"), coords=coords | {"modality": list(SHAPES)}
    )
    known = {"valence": ratings[:, 0], "arousal": ratings[:, 1], "emotion": thirds[:, 0] * 3 + thirds[:, 1]}
    truth = xr.Dataset({name: ("trial", value) for name, value in known.items()}, coords={"trial": trial})
    return Trials(TARGETS, inputs, present, truth, xr.ones_like(present, dtype=float))


def _block(variables, ratings, coords, gain, rng, encoder) -> xr.Dataset:
    patterns = np.random.default_rng(1)  # of all studies the same, so that what one learns holds in another
    found = {}
    for name, axes in variables.items():
        shape = tuple(size for _, size in axes)
        if name == "visible":
            values = np.ones((len(ratings), *shape), "float32")
        else:
            signal = np.tensordot(ratings, patterns.normal(0, gain, (2, *shape)), 1)
            values = (signal + rng.normal(0, 1, (len(ratings), *shape))).astype("float32")
        found[name] = (("trial", *(axis for axis, _ in axes)), values)
    return xr.Dataset(found, coords={"trial": coords["trial"]}, attrs={"encoder": encoder})


def sets(trials: Trials, modalities: tuple[str, ...], validation: int) -> tuple[dict, data.Data, data.Data]:
    """Description, training trials, and those of the last ``validation`` subjects, of some modalities."""
    everything = data.from_trials(trials).only(modalities)
    late = np.array(everything.subject) >= f"S{len(set(everything.subject)) - validation:02d}"
    return data.describe(trials), everything.rows(np.flatnonzero(~late)), everything.rows(np.flatnonzero(late))
