# %% [markdown]
# # 2. Feature extraction
#
# From one recording to numbers: clean EEG and its rhythms, landmarks and action units of the face, heart rate
# variability and skin conductance responses. Every step is a plain function of a signal; the last cell does all of it
# for the whole data set.
#
# Run it alone or after tour 1: `python scripts/tour/2_feature_extraction.py [FOLDER]`.

# %%
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import mne
import numpy as np

from bayesaffect.io import mahnob
from bayesaffect.pipeline import features, prepare, settings
from bayesaffect.signals import (
    compute_hrv,
    detect_facial_landmarks,
    extract_action_units,
    extract_connectivity_features,
    extract_scr_features,
    extract_spectral_features,
    preprocess_eeg,
)
from bayesaffect.signals.face import track_faces
from bayesaffect.signals.video import read_frames
from bayesaffect.simulate import Layout, write_mahnob

folder = Path(sys.argv[1] if sys.argv[1:] and not sys.argv[1].startswith("-") else "tour")
recordings, workspace, figures = folder / "recordings", folder / "workspace", folder / "figures"
figures.mkdir(parents=True, exist_ok=True)
layout = Layout(clip_seconds=(14.0, 18.0), margin=6.0)  # short clips, so that everything is quick
write_mahnob(recordings, subjects=6, clips=6, seed=0, layout=layout, jobs=2)

# %%
listing = mahnob.scan(recordings)
source = {source.name: source for source in listing.sources}["S02/T04"]  # an electrode is dead in this one
recording, _ = mahnob.read(source)
clip = recording.segments[0]
inside = slice(clip.start, clip.stop)

# %% [markdown]
# ## EEG: cleaning
#
# Band-pass, mains notch, repair of bad channels by spherical splines, average reference. The whole recording is
# cleaned, and the clip is cut out afterwards, so that the filters' edges lie outside of it.

# %%
raw = recording.signals["eeg"]
clean = preprocess_eeg(raw, line_frequency=50.0)
print("repaired channels:", clean.attrs["bad_channels"] or "none")
names = [*clean.attrs["bad_channels"], "Fz", "Pz", "Oz"]

figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
for ax, (title, signal) in zip(axes, {"raw": raw, "cleaned": clean}.items(), strict=True):
    part = signal.sel(channel=names, time=slice(clip.start, clip.start + 4))
    for k, channel in enumerate(part):
        ax.plot(part["time"], channel - channel.mean() - 60 * k, lw=0.6, color="0.2")
    ax.set_yticks([-60 * k for k in range(len(names))], names)
    ax.set_title(f"{title} (60 uV between lines)", loc="left", fontsize=9)
    ax.set_xlabel("s")
figure.savefig(figures / "2_cleaning.png", dpi=110)

# %% [markdown]
# ## EEG: rhythms
#
# `extract_spectral_features` gives log band power, band x channel x second (Thomson's multitapers). Less alpha over one
# half of the forehead than over the other goes with valence; more beta and less alpha with arousal - weakly, and
# differently in every person. The maps show each band against its mean over the head, from -0.5 (blue) to 0.5.

# %%
power = extract_spectral_features(clean.sel(time=inside))
print("log band power:", dict(power.sizes), power.attrs["units"])

channels = [str(name) for name in power["channel"].values]
info = mne.create_info(channels, 256.0, "eeg").set_montage("biosemi32", match_case=False, verbose=False)
figure, axes = plt.subplots(1, power.sizes["band"], figsize=(8, 2), layout="constrained")
for ax, name in zip(axes, power["band"].values, strict=True):
    level = power.sel(band=name).mean("frame")
    mne.viz.plot_topomap((level - level.mean()).values, info, axes=ax, show=False, contours=4, vlim=(-0.5, 0.5))
    ax.set_title(str(name), fontsize=9)
figure.savefig(figures / "2_topography.png", dpi=110)

# %% [markdown]
# ## EEG: connectivity
#
# Four measures of how two channels go together. Coherence and phase locking are high between neighbours simply because
# both electrodes see the same source through the skull; imaginary coherence and the weighted phase lag are blind to
# what arrives everywhere at once. All but imaginary coherence are biased upwards where frames are few, as here, where
# a clip has some seventeen: most of what the right panel shows is chance. Compare only values from equally many frames.

# %%
connectivity = extract_connectivity_features(clean.sel(time=inside))
figure, axes = plt.subplots(1, 2, figsize=(7, 3.2), layout="constrained")
for ax, name in zip(axes, ("phase_locking", "weighted_phase_lag"), strict=True):
    picture = ax.imshow(connectivity.sel(measure=name, band="alpha"), vmin=0, vmax=1, cmap="cividis")
    ax.set_title(f"{name.replace('_', ' ')}, alpha", loc="left", fontsize=9)
    ax.set_xticks([])
    ax.set_yticks([])
figure.colorbar(picture, ax=axes, shrink=0.8)
figure.savefig(figures / "2_connectivity.png", dpi=110)

# %% [markdown]
# ## The face
#
# Landmarks of one frame, then the face followed through the clip. The embedded detector works offline; its action units
# are proxies measured on aligned grey crops, not FACS scores. OpenFace and py-feat can stand in (`--face`).

# %%
video = recording.videos["face"]
times = np.arange(clip.start, clip.stop, 0.25)
_, image = next(read_frames(video.path, [round((times[8] - video.start) * video.rate)]))
landmarks = detect_facial_landmarks(image)
crops, visible, _ = track_faces(video, times)
units = extract_action_units(crops, visible)
print(f"the face is visible in {visible.sum()} of {visible.size} frames")
print(units.to_series().round(3).to_string())

figure, axes = plt.subplots(1, 5, figsize=(8, 2), layout="constrained")
axes[0].imshow(image, cmap="gray")
axes[0].plot(landmarks.sel(xy="x"), landmarks.sel(xy="y"), "+", color="tab:orange", ms=6)
axes[0].set_title("landmarks", fontsize=9)
for ax, k in zip(axes[1:], np.linspace(0, len(crops) - 1, 4).astype(int), strict=True):
    ax.imshow(crops[k], cmap="gray")
    ax.set_title(f"crop at {times[k]:.1f} s", fontsize=9)
for ax in axes:
    ax.set_axis_off()
figure.savefig(figures / "2_face.png", dpi=110)

# %% [markdown]
# ## Heart and skin
#
# Quantities for which a window is too short are NaN, and say what they need: the power of slow heart rate oscillations
# cannot be told from a quarter of a minute, whatever a formula returns.

# %%
ecg, eda = recording.signals["ecg"].sel(time=inside), recording.signals["eda"].sel(time=inside)
hrv = compute_hrv(ecg.values, sampling_rate=ecg.attrs["sampling_rate"])
for name, value in hrv.items():
    print(f"{name:>18} {value:8.2f}  {hrv.reasons.get(name, '')}")

# %%
scr = extract_scr_features(eda.values[0], sampling_rate=eda.attrs["sampling_rate"])
for name, value in scr.items():
    print(f"{name:>26} {value:8.3f}  {scr.reasons.get(name, '')}")

# %% [markdown]
# ## The whole data set
#
# `prepare` does this for every session: it cuts the last 12 s of each clip, extracts every modality, judges the quality
# of every signal in every trial, and standardises within each person, without labels. What cannot be used is listed
# with a reason. Prepared recordings are kept, so that the second call takes no time.
#
# On the command line: `bayesaffect prepare tour/recordings tour/workspace --window 12 --list`.

# %%
study = settings.from_options(
    recordings, "mahnob", window=12.0, folds=3, nested=False, members=2, passes=5, epochs=15, seed=0
)
workspace.mkdir(parents=True, exist_ok=True)
settings.save(study, workspace)
trials = prepare.prepare(workspace, study, jobs=2)
for modality, block in trials.inputs.items():
    print(modality, {name: array.shape[1:] for name, array in block.data_vars.items()})
print(trials.present.to_pandas().mean().round(2).to_dict(), "of the trials have the modality")
for omission in trials.omissions:
    print(f"{Path(omission.where).name}: {omission.what}")

# %% [markdown]
# Quality decides how much an opinion will count: fusion learns from the data what a poor signal costs.

# %%
figure, ax = plt.subplots(figsize=(8, 2), layout="constrained")
picture = ax.imshow(trials.quality.where(trials.present).T, vmin=0, vmax=1, aspect="auto", cmap="cividis")
ax.set_yticks(range(len(trials.modalities)), trials.modalities)
ax.set_xlabel("trial (white: the modality is missing)")
figure.colorbar(picture, ax=ax, label="quality")
figure.savefig(figures / "2_quality.png", dpi=110)

# %%
paths = features.export(trials, folder / "features")
table = features.table(trials, "physio")
print(f"{', '.join(str(p.name) for p in paths)}: one row per trial, raw units; physio has {table.shape[1]} columns")

# %% [markdown]
# Next: `3_single_modality_models.py`.
