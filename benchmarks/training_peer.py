"""A deep ensemble of the same networks, trained member by member here and inside torch-uncertainty's wrapper there."""

from __future__ import annotations

import copy
import importlib.util
import logging
import math
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import training_loop
import training_study as study
from pairs import Row, costs, fact
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from bayesaffect.evaluate.calibration import ece
from bayesaffect.evaluate.scores import nll_each
from bayesaffect.uncertainty.data import Data
from bayesaffect.uncertainty.training import STEPS, Training, train

MEMBERS, EPOCHS, TEST, MODALITY = 5, 10, 30, "eeg"
SETTINGS = Training(epochs=EPOCHS, patience=EPOCHS)
CLASSES = len(study.TARGETS[2].levels)


class Logits(nn.Module):
    """A network as torch-uncertainty wants it: one tensor in, the logits of one target out."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, maps: Tensor) -> Tensor:
        present = torch.ones(len(maps), 1, dtype=torch.bool)
        return self.network({MODALITY: {"maps": maps}}, present).logits["emotion"]


def rows(repeats: int) -> Iterator[Row]:
    """Five EEG networks and their nine classes, 22 subjects to learn from, 5 to choose the epoch by, 30 to test."""
    if importlib.util.find_spec("torch_uncertainty") is None or importlib.util.find_spec("lightning") is None:
        yield fact("peer: torch-uncertainty", math.nan, goal="installed", holds=True, note="not installed")
        return
    torch.set_num_threads(1)
    home = Path(tempfile.mkdtemp(prefix="bayesaffect-"))
    try:
        yield from _compared(home, repeats)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _compared(home: Path, repeats: int) -> Iterator[Row]:
    trials = study.make(training_loop.SUBJECTS + training_loop.VALIDATION)
    spec, learn, check = study.sets(trials, (MODALITY,), training_loop.VALIDATION)
    test = study.sets(study.make(TEST, seed=1), (MODALITY,), 0)[1]
    learn, check, test = (_one_target(some) for some in (learn, check, test))
    members = [_start(spec, learn, seed) for seed in range(MEMBERS)]
    found = {}

    def ours():
        networks = copy.deepcopy(members)
        for k, network in enumerate(networks):
            shutil.rmtree(home / str(k), ignore_errors=True)
            train(network, learn, check, settings=SETTINGS, seed=k, directory=home / str(k))
        found["ours"] = _probabilities(networks, test)

    def other():
        found["other"] = _probabilities(_wrapped(copy.deepcopy(members), learn, check, home / "other"), test)

    note = f"{MEMBERS} members, {EPOCHS} epochs, {len(learn)} trials, a checkpoint per epoch"
    yield costs("peer: our ensemble over torch-uncertainty's", ours, other, most=1.05, repeats=repeats, note=note)
    label, subject = test.truth["emotion"].numpy(), np.array(test.subject)
    yield _level("NLL", lambda p, rows: nll_each(p[rows], label[rows]).mean(), found, subject)
    yield _level("ECE", lambda p, rows: ece(p[rows], label[rows]), found, subject)


def _one_target(data: Data) -> Data:
    return replace(data, truth={"emotion": data.truth["emotion"]})


def _start(spec: dict, learn: Data, seed: int) -> nn.Module:
    from bayesaffect.encoders import build

    network = build(spec, (MODALITY,), study.TARGETS[2:], dropout=SETTINGS.dropout, seed=seed)
    network.calibrate(learn.inputs, learn.present, learn.truth)
    network.calibrate = training_loop.nothing
    return network


def _wrapped(members: list[nn.Module], learn: Data, check: Data, home: Path) -> list[nn.Module]:
    """The members after training as one model, by the library's own routine; the best validation epoch's weights."""
    from lightning.pytorch.callbacks import ModelCheckpoint
    from torch_uncertainty import TUTrainer
    from torch_uncertainty.methods import deep_ensembles
    from torch_uncertainty.routines import ClassificationRoutine
    from torch_uncertainty.transforms import RepeatTarget

    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    size = max(4, min(SETTINGS.batch, len(learn) // STEPS))
    sets = [TensorDataset(some.inputs[MODALITY]["maps"], some.truth["emotion"]) for some in (learn, check)]
    ensemble = deep_ensembles([Logits(network) for network in members], task="classification")
    groups = training_loop.groups(ensemble, SETTINGS)
    optimiser = torch.optim.AdamW(groups, lr=SETTINGS.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    routine = ClassificationRoutine(
        ensemble, CLASSES, loss=_Sum(MEMBERS), is_ensemble=True, format_batch_fn=RepeatTarget(MEMBERS),
        optim_recipe={"optimizer": optimiser, "lr_scheduler": schedule},
    )  # fmt: skip
    shutil.rmtree(home, ignore_errors=True)
    keep = ModelCheckpoint(home, monitor="val/cls/NLL", save_weights_only=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        trainer = TUTrainer(
            accelerator="cpu", devices=1, max_epochs=EPOCHS, logger=False, callbacks=[keep], enable_progress_bar=False,
            enable_model_summary=False, num_sanity_val_steps=0, gradient_clip_val=SETTINGS.clip * math.sqrt(MEMBERS),
        )  # fmt: skip
        trainer.fit(routine, DataLoader(sets[0], size, shuffle=True), DataLoader(sets[1], 512))
        routine.load_state_dict(torch.load(keep.best_model_path)["state_dict"])
    return [wrapper.network for wrapper in routine.model.core_models]


class _Sum(nn.Module):
    """Mean cross-entropy of all members' trials times the members: each member's gradient is as if it were alone."""

    def __init__(self, members: int):
        super().__init__()
        self.members = members

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return self.members * nn.functional.cross_entropy(logits, target)


def _probabilities(networks: list[nn.Module], test: Data) -> np.ndarray:
    found = []
    for network in networks:
        network.eval()
        with torch.no_grad():
            found.append(network(test.inputs, test.present).logits["emotion"].double().softmax(-1))
    return torch.stack(found).mean(0).numpy()


def _level(name: str, score, found: dict[str, np.ndarray], subject: np.ndarray) -> Row:
    """Ours minus theirs in standard errors of a bootstrap over subjects: not worse than by chance."""
    everyone = np.arange(len(subject))
    values = {who: score(prob, everyone) for who, prob in found.items()}
    rng, names = np.random.default_rng(0), np.unique(subject)
    drawn = []
    for _ in range(500):
        rows = np.concatenate([np.flatnonzero(subject == s) for s in rng.choice(names, names.size)])
        drawn.append(score(found["ours"], rows) - score(found["other"], rows))
    apart = (values["ours"] - values["other"]) / np.std(drawn)
    note = f"ours {values['ours']:.4f}, theirs {values['other']:.4f}; {TEST} subjects"
    return fact(f"peer: {name}, ours minus theirs in standard errors", apart, goal="<= 2", holds=apart <= 2, note=note)
