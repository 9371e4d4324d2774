from __future__ import annotations

import numpy as np
import pytest
import torch

from bayesaffect.fusion import linalg


def positive(m, batch, seed=0):
    a = torch.as_tensor(np.random.default_rng(seed).normal(size=(batch, m, m)))
    return a @ a.transpose(-1, -2) + torch.eye(m, dtype=torch.float64)


@pytest.mark.parametrize("m", [1, 2, 5])
def test_factorisation_solves_and_inverts_like_the_library(m):
    a, b = positive(m, 3), torch.arange(1.0, m + 1, dtype=torch.float64).expand(3, m)
    lower = linalg.cholesky(linalg.entries(a))
    x = torch.stack(linalg.backward(lower, linalg.forward(lower, list(b.unbind(-1)))), -1)
    torch.testing.assert_close(x, torch.linalg.solve(a, b))
    torch.testing.assert_close(linalg.stacked(linalg.inverse(lower)), torch.linalg.inv(a))
    torch.testing.assert_close(linalg.log_determinant(lower), torch.logdet(a))


def test_partial_correlations_make_a_correlation_matrix():
    p = torch.as_tensor(np.random.default_rng(1).uniform(-0.9, 0.9, (4, 6)))
    r = linalg.stacked(linalg.correlation_entries(linalg.correlation_cholesky(p, 4)))
    torch.testing.assert_close(r.diagonal(dim1=-2, dim2=-1), torch.ones(4, 4, dtype=torch.float64))
    assert torch.linalg.eigvalsh(r).min() > 0
    torch.testing.assert_close(r[:, 1, 0], p[:, 0])


def test_independent_partial_correlations_have_the_lkj_density():
    eta, m = 1.7, 3
    concentration = torch.tensor(linalg.lkj_concentration(eta, m), dtype=torch.float64)

    def log_density(p):
        beta = torch.distributions.Beta(concentration, concentration).log_prob((p + 1) / 2).sum()

        def free(q):
            rows = linalg.correlation_entries(linalg.correlation_cholesky(q, m))
            return torch.stack([rows[1][0], rows[2][0], rows[2][1]])

        return beta - torch.linalg.slogdet(torch.func.jacrev(free)(p))[1], free(p)

    gaps = []
    for point in ([0.1, -0.4, 0.6], [0.8, 0.2, -0.7]):
        density, r = log_density(torch.tensor(point, dtype=torch.float64))
        matrix = torch.eye(3, dtype=torch.float64)
        for value, (i, j) in zip(r, ((1, 0), (2, 0), (2, 1)), strict=True):
            matrix[i, j] = matrix[j, i] = value
        gaps.append(float(density - (eta - 1) * torch.logdet(matrix)))
    assert gaps[0] == pytest.approx(gaps[1], abs=1e-10)
