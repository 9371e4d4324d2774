from __future__ import annotations

import numpy as np
import pytest

from bayesaffect.evaluate.epistemic import aurc, detection, risk_coverage


def test_detection_counts_pairs_and_half_the_ties():
    assert detection(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0])) == pytest.approx((1.5 + 3) / 6)


def test_risk_coverage_by_hand():
    coverage, risk = risk_coverage(np.array([0.3, 0.1, 0.2, 0.4]), np.array([1.0, 0.0, 0.0, 1.0]))
    np.testing.assert_allclose(coverage, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(risk, [0, 0, 1 / 3, 1 / 2])
    assert aurc(np.array([0.3, 0.1, 0.2, 0.4]), np.array([1.0, 0.0, 0.0, 1.0])) == pytest.approx(5 / 24)


def test_ties_do_not_depend_on_the_order_of_trials():
    loss = np.array([1.0, 0.0, 0.0, 1.0])
    uncertainty = np.array([0.5, 0.5, 0.5, 0.9])
    np.testing.assert_allclose(risk_coverage(uncertainty, loss)[1], [1 / 3, 1 / 3, 1 / 3, 1 / 2])
    assert aurc(uncertainty, loss) == pytest.approx(aurc(uncertainty[[2, 1, 0, 3]], loss[[2, 1, 0, 3]]))


def test_a_useless_uncertainty_is_found_out():
    rng = np.random.default_rng(0)
    loss = (rng.random(2000) < 0.3).astype(float)
    assert aurc(1 - loss, loss) > 0.45 and aurc(loss, loss) < 0.07  # planted: upside down; perfect
    assert aurc(rng.random(2000), loss) == pytest.approx(0.3, abs=0.05)
