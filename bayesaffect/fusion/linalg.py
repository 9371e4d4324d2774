"""Factorisations of small matrices, written out over their entries.

A matrix is a list of rows of tensors, one tensor per entry and any batch shape, so that a graph of it is
element-wise arithmetic only: it compiles into one loop over the batch, whatever the size M.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Rows = list[list[Tensor]]
WRITTEN_OUT = 4


def entries(matrix: Tensor) -> Rows:
    """Split (..., M, M) into its entries (...)."""
    return [list(row.unbind(-1)) for row in matrix.unbind(-2)]


def stacked(rows: Rows) -> Tensor:
    """The inverse of `entries`."""
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def cholesky(a: Rows) -> Rows:
    """Lower triangular L with L L' = A; entries above the diagonal are not filled (row i has i + 1 entries)."""
    lower: Rows = []
    for i in range(len(a)):
        row: list[Tensor] = []
        for j in range(i + 1):
            value = a[i][j]
            for k in range(j):
                value = value - row[k] * (row[k] if i == j else lower[j][k])
            row.append(torch.sqrt(value) if i == j else value / lower[j][j])
        lower.append(row)
    return lower


def forward(lower: Rows, b: Sequence[Tensor]) -> list[Tensor]:
    """Solve L z = b."""
    z: list[Tensor] = []
    for i, row in enumerate(lower):
        value = b[i]
        for k in range(i):
            value = value - row[k] * z[k]
        z.append(value / row[i])
    return z


def backward(lower: Rows, z: Sequence[Tensor]) -> list[Tensor]:
    """Solve L' x = z."""
    m = len(lower)
    x: list[Tensor] = [z[0]] * m
    for i in reversed(range(m)):
        value = z[i]
        for k in range(i + 1, m):
            value = value - lower[k][i] * x[k]
        x[i] = value / lower[i][i]
    return x


def log_determinant(lower: Rows) -> Tensor:
    """log det A of A = L L'."""
    return 2 * sum(torch.log(row[-1]) for row in lower)


def inverse(lower: Rows) -> Rows:
    """A^-1 of A = L L' (symmetric, all entries)."""
    m = len(lower)
    one, zero = torch.ones_like(lower[0][0]), torch.zeros_like(lower[0][0])
    columns = [forward(lower, [one if i == j else zero for i in range(m)]) for j in range(m)]
    return [[sum(columns[i][k] * columns[j][k] for k in range(max(i, j), m)) for j in range(m)] for i in range(m)]


def correlation_cholesky(partial: Tensor, m: int) -> Rows:
    """Cholesky factor of a correlation matrix from M (M - 1) / 2 canonical partial correlations in (-1, 1).

    Column by column: L_ij = p_ij prod_{k<j} sqrt(1 - p_ik^2), L_ii = prod_{k<i} sqrt(1 - p_ik^2).
    With p = 2 Beta(al, al) - 1 and al = eta + (M - 2 - j) / 2 in column j the matrix is LKJ(eta)
    (Lewandowski, Kurowicka and Joe 2009).
    """
    one = torch.ones_like(partial[..., 0]) if m > 1 else torch.ones(partial.shape[:-1], dtype=partial.dtype)
    rows, position = [], 0
    for i in range(m):
        left, row = one, []
        for _ in range(i):
            p = partial[..., position]
            position += 1
            row.append(p * left)
            left = left * torch.sqrt(1 - p * p)
        rows.append([*row, left])
    return rows


def correlation_entries(lower: Rows) -> Rows:
    """R = L L' of a factor from `correlation_cholesky`."""
    m = len(lower)
    return [[sum(lower[i][k] * lower[j][k] for k in range(min(i, j) + 1)) for j in range(m)] for i in range(m)]


def lkj_concentration(eta: float, m: int) -> list[float]:
    """The Beta parameter al of each partial correlation, in the order `correlation_cholesky` takes them."""
    return [eta + (m - 2 - j) / 2 for i in range(m) for j in range(i)]


def schur(a: Tensor, m: int) -> tuple[Tensor, Tensor]:
    """Eliminate the first ``m`` rows and columns of (..., N, N): the Schur complement and the log-determinant of the
    block.

    Few operations on whole matrices, where `cholesky` is many on entries: the graph grows with M, not M^3.
    """
    total = torch.zeros_like(a[..., 0, 0])
    for _ in range(m):
        pivot = a[..., :1, :1]
        total = total + torch.log(pivot[..., 0, 0])
        a = a[..., 1:, 1:] - a[..., 1:, :1] * (a[..., :1, 1:] / pivot)
    return a, total


def precision(a: Tensor) -> tuple[Tensor, Tensor]:
    """A^-1 and log det A of (..., M, M); written out over entries up to `WRITTEN_OUT` rows."""
    m = a.shape[-1]
    if m <= WRITTEN_OUT:
        lower = cholesky(entries(a))
        return stacked(inverse(lower)), log_determinant(lower)
    eye = torch.eye(m, dtype=a.dtype).expand(a.shape)
    zero = torch.zeros_like(a)
    return schur(torch.cat([torch.cat([a, eye], -1), torch.cat([-eye, zero], -1)], -2), m)


def quadratic(a: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """g' A^-1 g and log det A of (..., M, M) and (..., M)."""
    m = a.shape[-1]
    if m <= WRITTEN_OUT:
        lower = cholesky(entries(a))
        return sum(v * v for v in forward(lower, list(g.unbind(-1)))), log_determinant(lower)
    corner = torch.zeros_like(g[..., :1, None])
    column = g[..., :, None]
    whole = torch.cat([torch.cat([a, column], -1), torch.cat([column.transpose(-1, -2), corner], -1)], -2)
    rest, log_det = schur(whole, m)
    return -rest[..., 0, 0], log_det
