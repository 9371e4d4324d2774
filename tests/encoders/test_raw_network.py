from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from bayesaffect.encoders import build
from bayesaffect.encoders.eeg_raw import EegRaw
from bayesaffect.types import Target

SHAPES = {"raw": [6, 256], "maps": [2, 6, 2]}


def waves(trials, *, seed=0):
    """Noise with a 10 Hz wave in channel 2 of the trials of level 1; the maps know nothing of it."""
    generator = torch.Generator().manual_seed(seed)
    level = torch.arange(trials) % 2
    raw = torch.randn(trials, 6, 256, generator=generator)
    phase = 6.28 * torch.rand(trials, 1, generator=generator)
    raw[:, 2] += 2 * level[:, None] * torch.sin(6.2832 * 10 * torch.arange(256) / 128 + phase)
    return {"b": {"raw": raw, "maps": torch.randn(trials, 2, 6, 2, generator=generator)}}, level


def test_filtering_over_channels_first_is_filtering_in_time_first():
    torch.manual_seed(0)
    stem, x = EegRaw(SHAPES, dropout=0.1, filters=3, depth=2, span=9), torch.randn(4, 6, 256)
    each = functional.conv1d(x.reshape(24, 1, 256), stem.temporal.weight, padding=4).reshape(4, 6, 3, 256)
    spatial = stem.spatial.weight[..., 0].reshape(3, 2, 6)
    expected = torch.einsum("fdc,bcft->bfdt", spatial, each).reshape(4, 6, 256)
    torch.testing.assert_close(stem.filtered(x), expected)


def test_calibration_gives_the_filtered_samples_unit_scale():
    stem, (inputs, _) = EegRaw(SHAPES, dropout=0.1), waves(20)
    block = stem.prepare({name: 30 * value + 4 for name, value in inputs["b"].items()})
    stem.calibrate(block)
    filtered = stem.standardise_filtered(stem.filtered(stem.standardise(block["raw"])))
    torch.testing.assert_close(filtered.std((0, 2), correction=0), torch.ones(16), atol=0.02, rtol=0)
    torch.testing.assert_close(filtered.mean((0, 2)), torch.zeros(16), atol=0.02, rtol=0)
    assert stem.direct == 12 and stem.summary(block).shape == (20, 12)


@pytest.mark.parametrize("samples", [5, 70])
def test_short_windows_pass(samples):
    stem = EegRaw({"raw": [6, samples], "maps": [2, 6, 1]}, dropout=0.1)
    embedding, _ = stem({"raw": torch.randn(2, 6, samples), "maps": torch.randn(2, 2, 6, 1)})
    assert embedding.shape == (2, 16) and torch.isfinite(embedding).all()


def test_an_oscillation_is_learned_from_the_samples():
    spec, targets = {"b": {"encoder": "eeg_raw", "shapes": SHAPES}}, (Target("level", levels=("rest", "wave")),)
    model, (inputs, level), (others, truth) = (
        build(spec, ("b",), targets, dropout=0.1, seed=0),
        waves(48),
        waves(40, seed=1),
    )
    present = torch.ones(48, 1, dtype=torch.bool)
    model.calibrate(model.prepare(inputs), present, {"level": level})
    search = torch.optim.Adam(model.parameters(), 0.01)
    torch.manual_seed(0)
    for _ in range(40):
        search.zero_grad()
        functional.cross_entropy(model(inputs, present).logits["level"], level).backward()
        search.step()
    said = model.eval()(others, present[:40]).logits["level"].argmax(1)
    assert (said == truth).float().mean() > 0.8
