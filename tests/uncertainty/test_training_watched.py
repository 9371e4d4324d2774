from __future__ import annotations

import builtins

import numpy as np
import pytest

from bayesaffect.errors import InputError
from bayesaffect.uncertainty import watch


def scalars(directory):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(directory)).Reload()
    names = events.Tags()["scalars"]
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in names}


def test_curves_of_a_run_that_goes_on_hold_every_epoch_once(tmp_path):
    pytest.importorskip("torch.utils.tensorboard")
    with watch.tensorboard(tmp_path) as after_epoch:
        for epoch in (1, 2, 3):
            after_epoch(epoch, {"epoch": epoch, "training": 1 / epoch, "validation": 9.0})
    with watch.tensorboard(tmp_path) as after_epoch:  # the checkpoint of epoch 3 was lost
        for epoch in (3, 4):
            after_epoch(epoch, {"epoch": epoch, "training": 1 / epoch, "validation": float("nan")})
    found = scalars(tmp_path)
    assert found.keys() == {"loss/training", "loss/validation"}
    assert [step for step, _ in found["loss/training"]] == [1, 2, 3, 4]
    np.testing.assert_allclose([value for _, value in found["loss/training"]], [1, 1 / 2, 1 / 3, 1 / 4], rtol=1e-6)
    assert found["loss/validation"] == [(1, 9.0), (2, 9.0)]


def test_without_tensorboard_the_sentence_says_what_to_install(tmp_path, monkeypatch):
    whole = builtins.__import__

    def without(name, *arguments, **named):
        if name.startswith(("torch.utils.tensorboard", "tensorboard")):
            raise ImportError(name)
        return whole(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r'pip install "bayesaffect\[watch\]"'), watch.tensorboard(tmp_path):
        pass


def test_nothing_is_written_for_a_run_that_has_no_epoch_left(tmp_path):
    pytest.importorskip("torch.utils.tensorboard")
    with watch.tensorboard(tmp_path / "curves"):
        pass
    assert not (tmp_path / "curves").exists()
