# %% [markdown]
# # 1. Data acquisition
#
# People watch film clips while EEG, face video, ECG, skin conductance, respiration and skin temperature are recorded;
# after every clip they say what they felt. This tour looks at such recordings before anything is computed from them:
# what the files hold, whether their clocks agree, what people answered, and what is broken.
#
# The data set is [MAHNOB-HCI](https://mahnob-db.eu/hci-tagging/) (Soleymani et al. 2012). It needs a licence, so the
# tour simulates recordings of the same form: the same folders, file formats, units and usual defects, with a known
# truth beside them. With the licence, let `recordings` below be your folder and leave out the call that simulates.
#
# Open this file as a notebook (VS Code does it by itself; `jupytext --to notebook 1_data_acquisition.py` elsewhere) or
# run it: `python scripts/tour/1_data_acquisition.py [FOLDER]`. All four tours share one folder; each makes what it
# lacks.

# %%
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from bayesaffect.errors import InputError
from bayesaffect.io import mahnob
from bayesaffect.signals.video import read_frames
from bayesaffect.simulate import Layout, write_mahnob
from bayesaffect.types import Omission

folder = Path(sys.argv[1] if sys.argv[1:] and not sys.argv[1].startswith("-") else "tour")
recordings, workspace, figures = folder / "recordings", folder / "workspace", folder / "figures"
figures.mkdir(parents=True, exist_ok=True)
layout = Layout(clip_seconds=(14.0, 18.0), margin=6.0)  # short clips, so that everything is quick
write_mahnob(recordings, subjects=6, clips=6, seed=0, layout=layout, jobs=2)

# %% [markdown]
# ## What is there
#
# `scan` reads the small XML files only. It says which sessions can be used, and why others cannot.

# %%
listing = mahnob.scan(recordings)
people = sorted({source.subject for source in listing.sources})
print(f"{len(listing.sources)} sessions of {len(people)} people: {', '.join(people)}")
print("modalities:", {name: signals for name, signals in listing.modalities.items()})
print("asked:", [t.name + (f" {t.bounds}" if t.bounds else f", one of {len(t.levels)} words") for t in listing.targets])
for omission in listing.omissions:
    print(f"left out: {omission.where}: {omission.what}")

# %% [markdown]
# ## One session
#
# `read` opens one session. Everything is on one clock, in seconds from the first sample of the BDF file; every signal
# has units; the clip lies between two trigger pulses.

# %%
recording, omissions = mahnob.read(listing.sources[0])
clip = recording.segments[0]
print(f"{clip.trial}: {clip.stimulus}, {clip.start:.2f} s to {clip.stop:.2f} s; answered {dict(clip.truth)}")
rows = {
    name: {
        "channels": signal.sizes["channel"],
        "rate (Hz)": signal.attrs["sampling_rate"],
        "units": signal.attrs["units"],
        "seconds": float(signal["time"][-1] - signal["time"][0]),
        "median": float(signal.median()),
    }
    for name, signal in recording.signals.items()
}
print(pd.DataFrame(rows).T.to_string())

# %% [markdown]
# Raw EEG has a large offset per electrode (there is no reference yet) and mains hum, and is dominated by slow drifts:
# look at the scale of the first panel. Skin conductance rises after events, and with a lag of seconds. The clip is
# shaded.

# %%
shown = {
    "EEG, electrode Fz (uV)": recording.signals["eeg"].sel(channel="Fz"),
    "ECG, lead 1 (uV)": recording.signals["ecg"][0],
    "skin conductance (uS)": recording.signals["eda"][0],
    "respiration (uV)": recording.signals["respiration"][0],
    "skin temperature (degC)": recording.signals["temperature"][0],
}
figure, axes = plt.subplots(len(shown), 1, figsize=(8, 8), sharex=True, layout="constrained")
for ax, (title, signal) in zip(axes, shown.items(), strict=True):
    ax.plot(signal["time"], signal, lw=0.6, color="0.2")
    ax.axvspan(clip.start, clip.stop, color="tab:blue", alpha=0.12, lw=0)
    ax.set_title(title, loc="left", fontsize=9)
axes[-1].set_xlabel("seconds from the first sample")
figure.savefig(figures / "1_signals.png", dpi=110)

# %% [markdown]
# ## The face, on the same clock
#
# The camera has a clock of its own, and its rate is not a whole number. Frame k was taken at `start + k / rate` on the
# recording's clock. A mistake of a second here would go unnoticed in every later plot: this is why it is settled by the
# reader, once.

# %%
video = recording.videos["face"]
print(f"video: starts at {video.start:.3f} s, {video.rate} frames/s")
wanted = np.rint((np.linspace(clip.start + 1, clip.stop - 1, 4) - video.start) * video.rate).astype(int)
figure, axes = plt.subplots(1, wanted.size, figsize=(8, 2), layout="constrained")
for ax, (number, image) in zip(axes, read_frames(video.path, wanted), strict=True):
    ax.imshow(image, cmap="gray")
    ax.set_title(f"{video.start + number / video.rate:.1f} s", fontsize=9)
    ax.set_axis_off()
figure.savefig(figures / "1_face.png", dpi=110)

# %% [markdown]
# ## What people answered
#
# Every dot is a trial. People who watched the same clip did not feel the same: this scatter is noise of the *label*,
# which no sensor can explain, and it bounds how good any prediction can be.

# %%
answers, missing = [], list(omissions)
for source in listing.sources:
    try:
        session, left_out = mahnob.read(source)
    except InputError as error:  # one broken recording does not stop a study: it is listed
        missing.append(Omission.from_error(error, scope="recording"))
        continue
    missing += left_out
    answers += [{"subject": session.subject, "clip": s.stimulus, **s.truth} for s in session.segments]
answers = pd.DataFrame(answers)
print(answers.groupby("clip")[["valence", "arousal"]].agg(["mean", "std"]).round(2).to_string())

figure, ax = plt.subplots(figsize=(5.2, 4.2), layout="constrained")
jitter = np.random.default_rng(0).uniform(-0.15, 0.15, (len(answers), 2))
for k, (name, group) in enumerate(answers.groupby("clip")):
    at = group[["valence", "arousal"]].to_numpy() + jitter[group.index]
    ax.plot(*at.T, "osv^D*"[k % 6], ms=5, alpha=0.8, label=name)
ax.set(xlabel="valence, 1 to 9", ylabel="arousal, 1 to 9", xlim=(0.5, 9.5), ylim=(0.5, 9.5))
ax.legend(fontsize=7, title="clip", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
figure.savefig(figures / "1_answers.png", dpi=110)

# %% [markdown]
# ## What is broken
#
# Real recordings have defects, and so have these: a missing video, a forgotten answer, a trigger that never came. A
# modality that is missing in a trial is no reason to lose the trial: fusion goes on with the others.

# %%
for omission in {(o.where, o.what): o for o in (*listing.omissions, *missing)}.values():
    print(f"{Path(omission.where).name}: {omission.what}" + (f" -> {omission.remedy}" if omission.remedy else ""))

# %% [markdown]
# ## Your own recordings
#
# Folders of another laboratory need a file, not code: `bayesaffect describe mylab.toml` writes a commented template in
# which channels, units, rates, scales and classes are named. DEAP and Empatica E4 folders are read as they are.
#
# Next: `2_feature_extraction.py`.
