"""Baselines that stand beside every fused model, from pooling without learning to a forest on hand-made features.

Each returns a `Predictive` with one draw on the trials that it can predict. ``groups`` are the held-out
groups of subjects, a sequence of collections of subject names: what is learned for the trials of one group
comes from the subjects of all other groups. Subjects in no group are neither predicted nor learned from.

``trained_on`` of a result marks the subjects whose truth the baseline was fitted to, together with those
the modalities' own opinions of that trial were trained on, where that is recorded. Where opinions are
not nested (an opinion on a training subject may stem from a network that saw the held-out one), stacking
inherits that weaker separation, as any second stage on plain out-of-fold predictions does.
"""

from bayesaffect.evaluate.baselines.features import forest, linear, table
from bayesaffect.evaluate.baselines.pooling import equal_weights, prior_only, product, product_of_experts
from bayesaffect.evaluate.baselines.stacking import order_only, stacking
from bayesaffect.evaluate.baselines.stimuli import stimulus

__all__ = [
    "equal_weights",
    "forest",
    "linear",
    "order_only",
    "prior_only",
    "product",
    "product_of_experts",
    "stacking",
    "stimulus",
    "table",
]
