# %% [markdown]
# # 3. Models of single modalities
#
# One small network per modality - a CNN on maps of EEG band power, a CNN on the face, an LSTM on physiology - predicts
# valence, arousal and emotion of people it has never seen, **and says how sure it is**. Several networks with different
# seeds, and several passes with dropout of each, disagree: that disagreement is what the model does not know.
#
# Run it alone or after tour 2: `python scripts/tour/3_single_modality_models.py [FOLDER]`. With 6 people and 15 epochs
# nobody learns much: the tour shows how to look, not what can be reached.

# %%
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from bayesaffect.errors import InputError
from bayesaffect.evaluate import baselines
from bayesaffect.evaluate.summary import score_table
from bayesaffect.pipeline import prepare, settings, train
from bayesaffect.simulate import Layout, write_mahnob
from bayesaffect.types import Opinions
from bayesaffect.uncertainty.decompose import variance

folder = Path(sys.argv[1] if sys.argv[1:] and not sys.argv[1].startswith("-") else "tour")
recordings, workspace, figures = folder / "recordings", folder / "workspace", folder / "figures"
figures.mkdir(parents=True, exist_ok=True)
layout = Layout(clip_seconds=(14.0, 18.0), margin=6.0)  # short clips, so that everything is quick
write_mahnob(recordings, subjects=6, clips=6, seed=0, layout=layout, jobs=2)

# %%
study = settings.from_options(
    recordings, "mahnob", window=12.0, folds=3, nested=False, members=2, passes=5, epochs=15, seed=0
)
workspace.mkdir(parents=True, exist_ok=True)
settings.save(study, workspace)
trials = prepare.prepare(workspace, study, jobs=2)

# %% [markdown]
# ## Who is tested on whom
#
# Folds hold *people* apart, never trials: the trials of one person are alike, and a network that has seen five of them
# recognises the sixth. `nested=False` above (`--flat`) is for speed: a real study also trains networks without pairs of
# groups, so that fusion never learns from a network that has seen the test subjects.

# %%
for k, group in enumerate(train.groups(study, trials), 1):
    print(f"fold {k}: {', '.join(group)}")
who = train.execution(workspace, study, jobs=2)
print(*train.plan_lines(train.lay_out(study, trials, who)), sep="\n")

# %% [markdown]
# ## Training
#
# Every network leaves a checkpoint per epoch. Stop this cell and start it again: it goes on where it was, and ends with
# the same weights.

# %%
cross = train.train(workspace, study, trials, who=who)
curves = train.learning_curves(workspace, study)
figure, axes = plt.subplots(1, curves["network"].nunique(), figsize=(8, 2.2), sharey=True, layout="constrained")
for ax, (name, part) in zip(axes, curves.groupby("network", sort=False), strict=True):
    for column, style in (("train_loss", "0.6"), ("validation_loss", "tab:red")):
        ax.plot(part.groupby("epoch")[column].median(), color=style, label=column.replace("_", " "))
    ax.set_title(name, loc="left", fontsize=9)
    ax.set_xlabel("epoch")
axes[0].legend(fontsize=7, frameon=False)
axes[0].set_ylabel("loss, nats")
figure.savefig(figures / "3_learning.png", dpi=110)

# %% [markdown]
# ## What a prediction is
#
# Draws of a mean and a variance per trial, never a single number. Their total variance has two parts: **aleatoric**,
# what the network says is noise, and **epistemic**, the disagreement of the draws, which more data would reduce. Two
# networks that stopped early disagree little: with five, and more epochs, the epistemic part is larger. Intervals may
# leave the scale: a network predicts a Gaussian, while people can only answer from 1 to 9.

# %%
valence = next(t for t in trials.targets if t.name == "valence")
figure, axes = plt.subplots(1, len(trials.modalities), figsize=(8, 3), sharey=True, layout="constrained")
for ax, name in zip(axes, trials.modalities, strict=True):
    said, parts = cross.out_of_fold[name], variance(cross.out_of_fold[name], "valence")
    truth = trials.truth["valence"].sel(trial=said.trial.values)
    known = np.isfinite(truth.values)
    mean = valence.from_unit(said.mean["valence"].mean("draw"))[known]
    spread = 1.645 * np.sqrt(parts.total.values)[known] * valence.half_range
    ax.errorbar(valence.from_unit(truth)[known], mean, yerr=spread, fmt="o", ms=3, lw=0.5, color="tab:blue")
    ax.plot([1, 9], [1, 9], color="0.7", lw=0.8, zorder=0)
    share = float((parts.epistemic / parts.total).mean())
    ax.set_title(f"{name}: {100 * share:.0f} % epistemic", loc="left", fontsize=9)
    ax.set_xlabel("rated valence")
axes[0].set_ylabel("predicted, 90 % interval")
figure.savefig(figures / "3_predictions.png", dpi=110)

# %% [markdown]
# ## How good is it?
#
# Always against somebody who does not look: `prior` knows the training subjects' mean and spread and nothing else.
# Intervals come from a bootstrap over *people*. If they overlap the prior's, the sensor has shown nothing yet.

# %%
models = {name: cross.out_of_fold[name] for name in trials.modalities}
models["prior"] = baselines.prior_only(trials, train.groups(study, trials))
scores = score_table(models, trials.truth, trials.targets, seed=0)
for target, score in (("valence", "nll"), ("valence", "coverage90"), ("arousal", "nll"), ("emotion", "nll")):
    rows = scores[(scores["target"] == target) & (scores["score"] == score)]
    print(f"\n{target}, {score}")
    print(rows[["model", "value", "low", "high"]].round(3).to_string(index=False))

# %% [markdown]
# ## The guard against leaks
#
# Opinions carry the list of people behind every network. One made by a network that has seen the very person is refused
# when it is built, so no later step can use it by mistake. Here is what happens to whoever tries:

# %%
honest = cross.out_of_fold["face"]
cheating = replace(honest, trained_on=~honest.trained_on)
try:
    Opinions.from_predictives({"face": cheating}, trials)
except InputError as error:
    print("refused:", error)

# %% [markdown]
# Next: `4_fusion_ensemble.py`.
