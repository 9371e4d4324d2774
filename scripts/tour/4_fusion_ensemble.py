# %% [markdown]
# # 4. Fusion
#
# Three sensors, three opinions, one person: whom to believe? **Early** fusion gives everything to one network. **Late**
# fusion is a Bayesian measurement model of the opinions: it learns how biased, how noisy, how over-confident and how
# alike the modalities are, and how much that differs between people. **Hybrid** fusion reads opinions and features.
#
# Run it alone or after tour 3: `python scripts/tour/4_fusion_ensemble.py [FOLDER]`.

# %%
import sys
from pathlib import Path

import arviz as az
import matplotlib.pyplot as plt
import numpy as np

from bayesaffect import fusion
from bayesaffect.evaluate import baselines
from bayesaffect.evaluate.summary import paired_difference, score_table
from bayesaffect.pipeline import prepare, settings, train
from bayesaffect.pipeline.fusions import early_fusion, hybrid_fusion, late_fusion
from bayesaffect.pipeline.opinions import with_trials
from bayesaffect.report.figures.weights import forest
from bayesaffect.report.style import save
from bayesaffect.simulate import Layout, write_mahnob
from bayesaffect.types import Opinions

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

# %%
groups = train.groups(study, trials)
cross = train.train(workspace, study, trials, jobs=2)
opinions = Opinions.from_predictives({name: cross.out_of_fold[name] for name in trials.modalities}, trials)
opinions = with_trials(opinions, trials)  # the quality of signals, and the features that hybrid fusion reads

# %% [markdown]
# ## Early fusion
#
# One network over all inputs. It is strong where there are many people to learn from; it cannot say which sensor it
# believed, and a missing sensor is a case it must have met in training.

# %%
early = early_fusion(
    trials, workspace / "training", groups=groups, ensemble=study.ensemble, training=study.training, seed=0, jobs=2
)

# %% [markdown]
# ## Late fusion
#
# For trial *i* of person *s*, modality *m* says $x_{im}$ with predictive variance $v_{im}$ about the truth $y_i$:
#
# $$x_{im} = a_m + b_m y_i + u_{sm} + e_{im}, \qquad e_{im} \sim N(0, \kappa_m^2 e^{2\rho_{sm}} v_{im})$$
#
# $\kappa_m > 1$: the modality is over-confident. $\rho_{sm}$: how much more so for this person. Errors of modalities
# are correlated. Read backwards, this gives the posterior of $y$. Sampling is by NUTS; the first fit compiles the
# density and keeps it for the next time, which takes half a minute; the others take a second. Every fold is predicted
# by a fit that has not seen its people.

# %%
late = late_fusion(opinions, "valence", groups=groups, seed=0)
gate = fusion.gate(late.posterior)
print("the sampler's checks:", "all passed" if not gate.failures else "; ".join(gate.failures))

# %% [markdown]
# ### The posterior, in ArviZ
#
# Posteriors are ArviZ objects with named dimensions. `kappa` is over-confidence, `b` gain, `omega` the spread of
# people's offsets. R-hat should be below 1.01 and effective sample sizes above 400: where they are not, read nothing
# into the rest.

# %%
print(az.summary(late.posterior, var_names=["kappa", "b", "omega"]).to_string())

# %%
az.plot_forest(late.posterior, var_names=["kappa", "b"], combined=True)
plt.gcf().savefig(figures / "4_forest.png", dpi=110, bbox_inches="tight")

# %% [markdown]
# Leave-one-out cross-validation without refitting (PSIS-LOO) tells how well the model expects trials that it was not
# fitted to. It warns where a trial is so influential that the estimate is unsure: with this few trials some are.

# %%
print(az.loo(late.posterior))

# %% [markdown]
# ### Whom to believe, and for whom
#
# The weight of a modality is its share of the precision of the fused answer, per person, with its own uncertainty. The
# prior - what people feel on average - is one more voice, and with few data it is a loud one. This is a figure of the
# report page, and the same call makes it.

# %%
share = fusion.weights(late.posterior)["weight"].stack(sample=("chain", "draw"), create_index=False)
share = share.transpose("sample", "subject", "modality")
picture = forest(share, opinions.modalities, (), "valence")
save(picture, figures)
print(picture.caption)
print(share.mean("sample").to_pandas().round(2).to_string())

# %% [markdown]
# ### A sensor fails
#
# The same posterior answers with any subset of the modalities: a missing one is a row left out of the model, not a zero
# fed to a network. The fewer, the wider the interval.

# %%
one = opinions.select([0])
valence = opinions.target("valence")
subsets = [opinions.modalities, opinions.modalities[:1], opinions.modalities[1:2], ()]
for names in subsets:
    said = fusion.predict(late.posterior, one.only(names), target="valence", seed=0)
    mean, spread = said.mean["valence"], said.variance["valence"]
    sd = float(np.sqrt(spread.mean() + mean.var())) * valence.half_range
    print(f"{' + '.join(names) or 'nothing':>20}: {float(valence.from_unit(mean.mean())):.2f} +- {sd:.2f}")

# %% [markdown]
# ## Hybrid fusion
#
# Opinions and features together, under attention over modalities. It has many more parameters than this data set has
# trials, so the tour only looks at it through a quick variational approximation, on one fold. **An approximation is not
# a posterior**: its PSIS k-hat says how far off it is, and the gate refuses it. `bayesaffect fuse WORKSPACE --hybrid`
# samples it properly.

# %%
quick = fusion.Sampling(engine="svi", draws=250, tune=250, chains=2)
hybrid = hybrid_fusion(opinions, "valence", groups=groups[:1], sampling=quick, seed=0)
print("refused, as it should be:", fusion.gate(hybrid.posterior).failures[0])

# %% [markdown]
# ## Side by side
#
# All models on the people of every fold (hybrid on one fold only, so its rows are not comparable). With six people the
# intervals are wide, and an honest reading is: nothing is settled. `equal` is the plain average of the modalities.

# %%
models = {name: cross.out_of_fold[name] for name in trials.modalities}
models |= {"prior": baselines.prior_only(opinions, groups), "equal": baselines.equal_weights(opinions)}
models |= {"early": early, "late": late.predictive, "hybrid": hybrid.predictive}
targets = (valence,)
scores = score_table(models, trials.truth, targets, seed=0)
table = scores[scores["score"].isin(["nll", "rmse", "coverage90"])]
print(table.pivot(index="model", columns="score", values="value").loc[list(models)].round(3).to_string())
pair = paired_difference(models, "late", "equal", truth=trials.truth, targets=targets, seed=0)
row = pair[pair["score"] == "nll"].iloc[0]
print(
    f"late - equal: {row['value']:.3f} nats per trial [{row['low']:.3f}, {row['high']:.3f}] (negative: late is better)"
)

# %% [markdown]
# ## All of it in one command
#
# `bayesaffect fuse tour/workspace` fuses valence, arousal and emotion and writes the report page with every figure;
# `bayesaffect study RECORDINGS WORKSPACE` goes from recordings to the page, with nested networks and more of them.
# `bayesaffect predict WORKSPACE NEW_RECORDINGS OUT` predicts people who were never in the study.
