from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import xarray as xr

from bayesaffect.fusion.hybrid import embedding
from bayesaffect.fusion.statistics import features
from bayesaffect.types import Opinions, Target


def table(blocks, here=None):
    n = len(next(iter(blocks.values())))
    names = list(blocks)
    trial = [f"T{i}" for i in range(n)]
    coords = {"trial": trial, "modality": names, "subject": ("trial", trial), "stimulus": ("trial", trial)}
    here = np.ones((n, len(names)), dtype=bool) if here is None else here
    present = xr.DataArray(here, dims=("trial", "modality"), coords=coords)
    arrays = {m: xr.DataArray(b, dims=("trial", "feature"), coords={"trial": trial}) for m, b in blocks.items()}
    truth = xr.Dataset({"valence": ("trial", np.zeros(n))}, coords={"trial": trial})
    return Opinions((Target("valence", (1, 9)),), present, truth, embedding=arrays)


def mixed(n=400, seed=0):
    """Two modalities whose features share causes; the second has 12 features of rank 3 and one that is constant."""
    rng = np.random.default_rng(seed)
    cause = rng.normal(size=(n, 3))
    first = cause @ rng.normal(size=(3, 4)) + rng.normal(size=(n, 4))
    second = np.c_[(cause + 0.5 * rng.normal(size=(n, 3))) @ rng.normal(size=(3, 11)), np.ones(n)]
    return {"a": first, "b": 100 * second}


def test_components_are_uncorrelated_standardised_and_few():
    opinions = table(mixed())
    reduction = embedding.learn(opinions, "valence", np.ones(400, dtype=bool))
    z = embedding.components(reduction, opinions, "valence").z
    assert reduction.components == ["a_1", "a_2", "a_3", "a_4", "b_1", "b_2", "b_3"]
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-9)
    for own in (z[:, :4], z[:, 4:]):
        np.testing.assert_allclose(own.T @ own / 400, np.eye(own.shape[1]), atol=1e-9)
    wide = table({"a": np.random.default_rng(0).normal(size=(400, 30))})
    assert len(embedding.learn(wide, "valence", np.ones(400, dtype=bool)).components) == embedding.COMPONENTS


def test_what_is_not_used_changes_nothing():
    blocks, used = mixed(), np.arange(400) < 300
    one = embedding.learn(table(blocks), "valence", used)
    two = embedding.learn(table({m: np.where(used[:, None], b, 1e6) for m, b in blocks.items()}), "valence", used)
    for name in ("center", "loading"):
        assert all(np.array_equal(p, q) for p, q in zip(getattr(one, name), getattr(two, name), strict=True))
    np.testing.assert_array_equal(one.covariance, two.covariance)


def test_a_missing_embedding_is_the_conditional_normal_of_those_that_are_there():
    here = np.ones((400, 2), dtype=bool)
    here[:50, 1], here[50:60, 0], here[60:70] = False, False, False
    opinions = table(mixed(), here)
    reduction = embedding.learn(opinions, "valence", np.ones(400, dtype=bool))
    parts = embedding.components(reduction, opinions, "valence")
    c = reduction.covariance
    gain = c[4:, :4] @ np.linalg.inv(c[:4, :4])
    np.testing.assert_allclose(parts.z[:50, 4:], parts.z[:50, :4] @ gain.T)
    np.testing.assert_allclose(parts.spread[parts.pattern[0]][4:, 4:], c[4:, 4:] - gain @ c[:4, 4:], atol=1e-12)
    assert not parts.spread[parts.pattern[0]][:4].any() and not parts.spread[parts.pattern[399]].any()
    np.testing.assert_array_equal(parts.z[60:70], 0)
    np.testing.assert_allclose(parts.spread[parts.pattern[60]], c)
    assert np.abs(gain).max() > 0.3


def test_heads_can_be_taken_away():
    opinions = table(mixed())
    reduction = embedding.learn(opinions, "valence", np.ones(400, dtype=bool))
    drop = np.zeros((400, 2), dtype=bool)
    drop[:, 1] = True
    gone = dataclasses.replace(opinions, present=opinions.present & [True, False])
    np.testing.assert_allclose(
        embedding.components(reduction, opinions, "valence", drop).z, embedding.components(reduction, gone, "valence").z
    )


def test_moments_that_contradict_one_another_still_give_a_covariance():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 1))
    blocks = {"a": x, "b": x.copy(), "c": -x.copy()}
    here = np.ones((300, 3), dtype=bool)
    here[:100, 2], here[100:200, 1], here[200:, 0] = False, False, False
    blocks["c"][100:200] *= -1  # b and c agree only where both are not seen
    reduction = embedding.learn(table(blocks, here), "valence", np.ones(300, dtype=bool))
    assert np.linalg.eigvalsh(reduction.covariance).min() > 0
    np.testing.assert_allclose(np.diag(reduction.covariance), 1)


@pytest.mark.parametrize("name", ["center", "loading"])
def test_a_stored_reduction_is_read_back(name):
    opinions = table(mixed())
    reduction = embedding.learn(opinions, "valence", np.ones(400, dtype=bool))
    arrays, dims, coords = embedding.stored(reduction)
    kept = xr.Dataset({n: (dims[n], a) for n, a in arrays.items()}, coords=coords)
    again = embedding.of_fit({"constant_data": kept})
    assert again.heads == reduction.heads
    for one, two in zip(getattr(again, name), getattr(reduction, name), strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(again.covariance, reduction.covariance)


def voted(seed=1):
    """`mixed` with opinions on four classes, on which the embeddings depend in part."""
    rng = np.random.default_rng(seed)
    opinions = table(mixed())
    p = rng.dirichlet(np.ones(4), (400, 2))
    blocks = {
        m: b.copy(data=b.values + 3 * b.values.std() * p[:, k] @ rng.normal(size=(4, b.shape[1])))
        for k, (m, b) in enumerate(opinions.embedding.items())
    }
    target = Target("emotion", levels=tuple("abcd"))
    log_prob = xr.DataArray(np.log(p), dims=("trial", "modality", "level"), coords=opinions.present.coords)
    return dataclasses.replace(
        opinions,
        targets=(*opinions.targets, target),
        truth=opinions.truth.assign(emotion=("trial", rng.integers(0, 4, 400))),
        log_prob={"emotion": log_prob},
        embedding=blocks,
    )


def test_components_for_classes_are_what_the_opinion_leaves_of_the_embedding():
    opinions = voted()
    used = np.arange(400) < 300
    reduction = embedding.learn(opinions, "emotion", used)
    z = embedding.components(reduction, opinions, "emotion").z
    f = features(opinions, "emotion")
    for k, name in enumerate(("a", "b")):
        own = z[used][:, reduction.owner == k]
        opinion = np.c_[np.ones(300), f[used, k]]
        block = opinions.embedding[name].values[used]
        block = block[:, block.std(0) > 0]
        scaled = (block - block.mean(0)) / block.std(0)
        left, size, _ = np.linalg.svd(scaled, full_matrices=False)
        kept = size**2 >= 0.01 * (size**2).sum()
        first = left[:, kept] * np.sqrt(300)
        rest = first - opinion @ np.linalg.lstsq(opinion, first, rcond=None)[0]
        assert np.abs(own.T @ opinion).max() < 1e-8
        np.testing.assert_allclose(own @ own.T, rest @ rest.T, atol=1e-8)  # the same but for a rotation
        np.testing.assert_allclose(own.T @ own / 300, np.diag(own.var(0)), atol=1e-9)
        assert 0.01 < own.var(0).min() < 0.7 * own.var(0).max()
    inside = np.cov(z[used], rowvar=False, bias=True)
    np.testing.assert_allclose(reduction.covariance, inside, atol=2e-3)


def test_a_few_trials_cannot_tell_an_embedding_from_its_opinion():
    opinions, few = voted(), np.arange(400) < 8
    reduction = embedding.learn(opinions, "emotion", few)
    assert reduction.heads == ("a", "b")
    assert not any(loading[-3:].any() for loading in reduction.loading)
    np.testing.assert_allclose(embedding.components(reduction, opinions, "emotion").z[few].var(0), 1)


def test_an_embedding_that_is_its_opinion_is_no_head():
    opinions = voted()
    own = opinions.embedding["a"].copy(data=np.nan * opinions.embedding["a"].values)
    own = own[:, :3].copy(data=features(opinions, "emotion")[:, 0])
    same = dataclasses.replace(opinions, embedding={"a": own, "b": opinions.embedding["b"]})
    assert embedding.learn(same, "emotion", np.ones(400, dtype=bool)).heads == ("b",)
