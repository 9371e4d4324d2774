"""Embeddings made short enough for a posterior: principal components, and what is known of them where they are missing.

Per modality, estimated on the trials that a fit learns from and then fixed: features are standardised and turned into
their principal components of variance 1, of which at most `COMPONENTS` are kept, and none with less than `LEAST_SHARE`
of the variance. For a categorical target, what is linear in the modality's opinion f (`statistics.features`) is taken
out of them, because the pool has it already, and the rest is turned once more; what has less than `LEAST_SHARE` of its
variance left is dropped (with at most `ENOUGH` trials per entry of f, nothing is taken out). A head so learns what an
embedding knows beyond its opinion, and its coefficients are all but independent of the pool's. With all heads'
components in one row z (D,), mean 0, and C = Cov(z), a row of which only the entries o were seen stands for

    z | z_o ~ N(B_o z_o, C - B_o C_o.),      B_o = C_.o (C_oo)^-1,

so that what is linear in z can be integrated over a missing embedding exactly, as far as embeddings are Gaussian. The
network that made an embedding must be one and the same for all trials: components of different networks have nothing
to do with one another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesaffect.errors import InputError
from bayesaffect.fusion.statistics import features
from bayesaffect.types import Opinions

COMPONENTS = 8
LEAST_SHARE = 0.01
RIDGE = 1e-3
ENOUGH = 3


@dataclass(frozen=True)
class Reduction:
    """How embeddings become components.

    Parameters
    ----------
    heads : the modalities that have an embedding (J,).
    center : per head (F,); what is subtracted from its features, followed by the opinion's f if any.
    loading : per head (F, d); components = (features - center) @ loading.
    covariance : C (D, D) over all heads' components, D = sum of d.
    """

    heads: tuple[str, ...]
    center: tuple[np.ndarray, ...]
    loading: tuple[np.ndarray, ...]
    covariance: np.ndarray

    @property
    def owner(self) -> np.ndarray:
        """Which head each component belongs to (D,)."""
        return np.repeat(np.arange(len(self.heads)), [a.shape[1] for a in self.loading])

    @property
    def components(self) -> list[str]:
        """Names of the components (D,): modality and number."""
        return [f"{h}_{k + 1}" for h, a in zip(self.heads, self.loading, strict=True) for k in range(a.shape[1])]


@dataclass(frozen=True)
class Components:
    """``z`` (N, D) with missing parts at their conditional mean; ``here`` (N, J) whether a head saw its embedding;
    ``patterns`` (P, J) of it, ``pattern`` (N,) of each trial and ``spread`` (P, D, D) the covariance of what is
    missing."""

    z: np.ndarray
    here: np.ndarray
    patterns: np.ndarray
    pattern: np.ndarray
    spread: np.ndarray


def learn(opinions: Opinions, target: str, used: np.ndarray) -> Reduction:
    """The reduction for ``target`` from the ``used`` (N,) trials.

    Raises
    ------
    InputError : no modality has an embedding that varies, or one with gaps.
    """
    heads, centers, loadings, blocks = [], [], [], []
    for name in opinions.modalities:
        block = _block(opinions, name, target)
        if block is None:
            continue
        rows = block[used & np.isfinite(block).all(1)]
        said = _contrasts(opinions, target)
        width = block.shape[1] - said
        if len(rows) < 3 or not (first := _turned(rows[:, :width], COMPONENTS)).any():
            continue
        center = rows.mean(0)
        loading = np.zeros((block.shape[1], first.shape[1]))
        loading[:width] = first
        if len(rows) > ENOUGH * said > 0:
            opinion = rows[:, width:] - center[width:]
            loading[width:] = -np.linalg.lstsq(opinion, (rows - center)[:, :width] @ first, rcond=1e-8)[0]
            loading = loading @ _left((rows - center) @ loading)
        if not loading.shape[1]:
            continue
        heads.append(name)
        centers.append(center)
        loadings.append(loading)
        blocks.append((block - center) @ loading)
    if not heads:
        raise InputError(
            "no modality has an embedding that varies over the trials with truth",
            remedy="add features (columns x_<name> of a table), or use the late model: fit",
        )
    return Reduction(tuple(heads), tuple(centers), tuple(loadings), _covariance(blocks, used))


def _turned(rows: np.ndarray, at_most: int) -> np.ndarray:
    """Loadings (F, d) of the leading principal components of the standardised rows (n, F), of variance 1 each."""
    center, sd = rows.mean(0), rows.std(0)
    varies = sd > 1e-9 * np.maximum(1.0, np.abs(center))
    scaled = (rows - center)[:, varies] / sd[varies]
    values, vectors = np.linalg.eigh(scaled.T @ scaled / len(rows))
    order = np.argsort(-values)[:at_most]
    order = order[values[order] >= LEAST_SHARE * values.sum()]
    turned = vectors[:, order]
    turned = turned * np.sign(turned[np.abs(turned).argmax(0), np.arange(order.size)]) if order.size else turned
    loading = np.zeros((rows.shape[1], order.size))
    loading[varies] = turned / np.sqrt(values[order]) / sd[varies][:, None]
    return loading


def _left(rows: np.ndarray) -> np.ndarray:
    """Rotation (d, e) of the rows (n, d) to principal components with at least `LEAST_SHARE` as variance."""
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    order = np.argsort(-values)
    turned = vectors[:, order[values[order] >= LEAST_SHARE]]
    return turned * np.sign(turned[np.abs(turned).argmax(0), np.arange(turned.shape[1])]) if turned.size else turned


def _contrasts(opinions: Opinions, target: str) -> int:
    """How many numbers f an opinion on a categorical target has."""
    kind = opinions.target(target)
    return 0 if kind.kind == "continuous" else len(kind.levels) - 1


def _block(opinions: Opinions, name: str, target: str) -> np.ndarray | None:
    """The features of a modality and f of its opinion (N, F), NaN where it is missing."""
    if name not in opinions.embedding:
        return None
    place = opinions.modalities.index(name)
    here = opinions.present.values[:, place]
    block = np.where(here[:, None], opinions.embedding[name].values.astype(float), np.nan)
    if (gap := ~np.isnan(block).all(1) & ~np.isfinite(block).all(1)).any():
        raise InputError(
            f"the embedding of {name} has gaps or infinite values",
            where=f"trial {opinions.present['trial'].values[int(gap.argmax())]}",
            remedy="give all features of a modality or none",
        )
    if _contrasts(opinions, target):
        f = features(opinions, target)[:, place]
        block = np.concatenate([block, np.where(np.isfinite(block).all(1)[:, None], f, np.nan)], 1)
    return block


def _covariance(blocks: list[np.ndarray], used: np.ndarray) -> np.ndarray:
    """C over all components; between two heads from the trials that have both, drawn a little towards 0."""
    sizes = [b.shape[1] for b in blocks]
    edges = np.concatenate([[0], np.cumsum(sizes)])
    out = np.eye(edges[-1])
    for i in range(len(blocks)):
        for j in range(i):
            both = used & np.isfinite(blocks[i]).all(1) & np.isfinite(blocks[j]).all(1)
            if both.sum() > 2 * (sizes[i] + sizes[j]):
                cross = np.corrcoef(blocks[i][both], blocks[j][both], rowvar=False)[: sizes[i], sizes[i] :]
                rows, columns = slice(edges[i], edges[i + 1]), slice(edges[j], edges[j + 1])
                out[rows, columns] = cross / (1 + RIDGE)
                out[columns, rows] = out[rows, columns].T
    low = np.linalg.eigvalsh(out).min()
    if low < RIDGE:  # pairwise moments need not be a correlation matrix
        out = (out + (RIDGE - low) * np.eye(len(out))) / (1 + RIDGE - low)
    sd = np.concatenate([b[used & np.isfinite(b).all(1)].std(0) for b in blocks])
    return sd[:, None] * out * sd


def components(reduction: Reduction, opinions: Opinions, target: str, drop: np.ndarray | None = None) -> Components:
    """Components of ``opinions`` (any, with the same modalities' features); heads in ``drop`` (N, J) count as missing.

    Raises
    ------
    InputError : an embedding with another number of features than the fit's, or with gaps.
    """
    parts = []
    for name, center, loading in zip(reduction.heads, reduction.center, reduction.loading, strict=True):
        block = _block(opinions, name, target)
        if block is None:
            block = np.full((opinions.present.sizes["trial"], center.size), np.nan)
        if block.shape[1] != center.size:
            said = _contrasts(opinions, target)
            raise InputError(
                f"the embedding of {name} has {block.shape[1] - said} features, the fit's has {center.size - said}",
                remedy="give the features that the model was fitted with",
            )
        parts.append((block - center) @ loading)
    here = np.stack([np.isfinite(p).all(1) for p in parts], 1)
    if drop is not None:
        here = here & ~drop
    owner, c = reduction.owner, reduction.covariance
    z = np.where(here[:, owner], np.concatenate(parts, 1), 0.0)
    patterns, pattern = np.unique(here, axis=0, return_inverse=True)
    pattern = pattern.ravel()
    spread = np.zeros((len(patterns), owner.size, owner.size))
    for code, row in enumerate(patterns):
        seen, gone = np.flatnonzero(row[owner]), np.flatnonzero(~row[owner])
        gain = np.linalg.solve(c[np.ix_(seen, seen)], c[np.ix_(seen, gone)]) if seen.size else np.zeros((0, gone.size))
        rows = pattern == code
        z[np.ix_(rows, gone)] = z[np.ix_(rows, seen)] @ gain
        spread[code][np.ix_(gone, gone)] = c[np.ix_(gone, gone)] - c[np.ix_(gone, seen)] @ gain
    return Components(z, here, patterns, pattern, spread)


def stored(reduction: Reduction) -> tuple[dict[str, np.ndarray], dict[str, list[str]], dict[str, list[str]]]:
    """Arrays, dims and coords that carry a reduction in a posterior's constant_data."""
    width = max(c.size for c in reduction.center)
    center = np.zeros((len(reduction.heads), width))
    loading = np.zeros((reduction.owner.size, width))
    for j, (c, a) in enumerate(zip(reduction.center, reduction.loading, strict=True)):
        center[j, : c.size] = c
        loading[reduction.owner == j, : c.size] = a.T
    arrays = {
        "embedding_center": center,
        "embedding_loading": loading,
        "embedding_covariance": reduction.covariance,
        "embedding_owner": reduction.owner,
        "embedding_width": np.array([c.size for c in reduction.center]),
    }
    dims = {
        "embedding_center": ["head", "feature"],
        "embedding_loading": ["component", "feature"],
        "embedding_covariance": ["component", "component_bis"],
        "embedding_owner": ["component"],
        "embedding_width": ["head"],
    }
    coords = {"head": list(reduction.heads), "component": reduction.components, "component_bis": reduction.components}
    return arrays, dims, coords


def of_fit(posterior) -> Reduction:
    """The reduction that a hybrid fit has stored."""
    kept = posterior["constant_data"]
    width, owner = kept["embedding_width"].values.astype(int), kept["embedding_owner"].values.astype(int)
    center, loading = kept["embedding_center"].values, kept["embedding_loading"].values
    return Reduction(
        tuple(str(h) for h in kept["head"].values),
        tuple(center[j, :f] for j, f in enumerate(width)),
        tuple(loading[owner == j, :f].T for j, f in enumerate(width)),
        kept["embedding_covariance"].values,
    )
