"""The abbreviations and terms of the page in plain words."""

from __future__ import annotations

from collections.abc import Iterable

from bayesaffect.types import Target

ALWAYS = {
    "NLL, nats": "Negative log-likelihood: minus the natural logarithm of the probability (of a rating: of the "
    "density) given to what the person said, averaged over trials; its unit is the nat. Lower is better; being sure "
    "and wrong costs most. 0.1 nats less: the truth was given 1.1 times the probability.",
    "90 % interval": "Behind a score: the range that holds 90 % of its values when the people of the study are drawn "
    "again with replacement. Behind a prediction: the range that should hold the truth in 90 % of trials.",
    "guessing, prior": "What is known without any signal: how often, or how high, the people trained on answered.",
    "late, early fusion": "Late: every sensor's networks predict by themselves, and a Bayesian model weighs what they "
    "say. Early: one network reads all sensors.",
    "Shapley value": "What a sensor adds, averaged over all orders in which the sensors could be added.",
    "R-hat, ESS": "Whether the sampling behind a posterior has settled: R-hat is near 1 when its chains agree, and the "
    "effective sample size (ESS) is what its draws are worth in independent ones.",
}
KINDS = {
    "continuous": {
        "RMSE": "Root of the mean squared error, in units of the rating scale; lower is better.",
        "CCC": "Concordance correlation coefficient: 1 if predictions equal the ratings, 0 if they are unrelated.",
        "CRPS": "Continuous ranked probability score: how far the whole predicted distribution lies from the rating, "
        "in units of the scale; lower is better.",
        "coverage": "The share of ratings that lie inside their interval: 90 % of them should for 90 % intervals.",
        "PIT": "Where in its predicted distribution the rating fell, from 0 to 1; even over many trials if calibrated.",
    },
    "categorical": {
        "accuracy": "The share of trials in which the most probable class was right; balanced: averaged over classes.",
        "macro F1": "Harmonic mean of precision and recall of a class, averaged over classes; 1 is best.",
        "AUROC": "How often a trial of a class is given a higher probability of it than a trial of another class; "
        "0.5 is guessing, 1 is best.",
        "Brier score": "Squared error of the probabilities, summed over classes; lower is better.",
        "ECE": "Expected calibration error: by how much the probability of the most likely class differs from how "
        "often it is right; 0 is best, but finite data do not reach it.",
    },
}


def words(targets: Iterable[Target]) -> dict[str, str]:
    """Term -> what it means, for studies of ``targets``."""
    kinds = {target.kind for target in targets}
    return ALWAYS | {term: told for kind, terms in KINDS.items() if kind in kinds for term, told in terms.items()}
