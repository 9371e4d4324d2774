"""The late models recover what was drawn from their priors: few replications here, 200 in benchmarks/calibration.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bayesaffect.evaluate import sbc
from bayesaffect.fusion import Priors
from bayesaffect.fusion.checks import generate, selfcheck
from bayesaffect.fusion.engine import capture

pytestmark = [pytest.mark.slow, pytest.mark.statistical]
ALPHA = 1e-3  # the chance that a test of a calibrated model fails, over all its quantities
SIZE = 99
MODELS = {"continuous": generate.Shape(), "categorical": generate.Shape(levels=3)}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("density")


def verdict(shape, cache, replications, seed=11, **options):
    sides = selfcheck.sides(shape, cache=cache, **options)
    found = sbc.calibrate(*sides, replications=replications, seed=seed, size=SIZE)
    return sbc.verdict(found), found


@pytest.mark.parametrize("model", list(MODELS))
def test_ranks_of_the_truth_are_uniform(model, cache):
    table, found = verdict(MODELS[model], cache, 30)
    assert table["adjusted"].iloc[0] > ALPHA, table.head().to_string()
    assert found.short <= 3


def test_a_prior_of_the_wrong_scale_is_caught(cache):
    """Believing that people differ three times as much as they do."""
    median, spread = Priors().sd_rho
    wrong = replace(Priors(), sd_rho=(3 * median, spread))
    table, _ = verdict(MODELS["continuous"], cache, 20, believed=wrong)
    assert table["adjusted"].iloc[0] < ALPHA, table.head().to_string()
    assert table.index[0].startswith(("sd_rho", "rho"))
    assert table.loc[["sd_rho[0]", "sd_rho[1]"], "mean"].max() < 0.4


def test_a_dropped_jacobian_is_caught(monkeypatch, tmp_path):
    """Without log |d sd_rho / dz| = log sd_rho, sd_rho is drawn too small: by its log sd squared, 1.2^2, on its log.

    Few people, so that data do not hide it.
    """
    whole = capture.Density.constrain

    def dropped(self, z):
        values, jacobian = whole(self, z)
        return values, jacobian - values["sd_rho"].log().sum()

    monkeypatch.setattr(capture.Density, "constrain", dropped)
    vague = replace(Priors(), sd_rho=(0.3, 1.2))
    table, _ = verdict(generate.Shape(subjects=4), tmp_path, 80, priors=vague)
    assert table["adjusted"].iloc[0] < ALPHA, table.head().to_string()
    assert table.index[0].startswith(("sd_rho", "rho"))
    assert table.loc[["sd_rho[0]", "sd_rho[1]"], "mean"].min() > 0.6
