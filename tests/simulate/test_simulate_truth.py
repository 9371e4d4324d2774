from __future__ import annotations

import numpy as np
import pytest

from bayesaffect.errors import InputError
from bayesaffect.simulate import draw_truth
from bayesaffect.simulate.truth import EMOTIONS, trial_table


def test_same_seed_same_truth_other_seed_other():
    a, b, c = (draw_truth(subjects=3, clips=4, seed=s) for s in (1, 1, 2))
    assert a.trials.identical(b.trials) and a.subjects.identical(b.subjects)
    assert not np.allclose(a.trials["felt"], c.trials["felt"])


def test_a_trial_does_not_depend_on_how_many_others_are_drawn():
    few, many = draw_truth(subjects=2, clips=4, seed=1), draw_truth(subjects=4, clips=4, seed=1)
    assert many.trials.isel(trial=slice(0, 8)).identical(few.trials)


def test_evidence_follows_the_equation():
    truth = draw_truth(subjects=30, clips=20, seed=3)
    t, p = truth.trials, truth.subjects.sel(subject=truth.trials["subject"])
    residual = t["evidence"] - p["gain"] * p["loading"] * t["felt"]
    z = residual / (p["noise"] * p["spread"])
    assert abs(float(z.std()) - 1) < 5 / np.sqrt(2 * z.size)
    joint = np.corrcoef(z.transpose("trial", ...).values.reshape(600, -1).T)
    assert np.abs(joint - np.eye(6)).max() < 5 / np.sqrt(600)


def test_modalities_complement_one_another():
    t = draw_truth(subjects=30, clips=20, seed=4).trials
    for k in range(2):
        y, x = t["felt"].values[:, k], t["evidence"].values[:, :, k]
        alone = [np.corrcoef(x[:, m], y)[0, 1] ** 2 for m in range(3)]
        design = np.column_stack([x, np.ones(len(y))])
        residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
        assert 1 - residual.var() / y.var() > max(alone) + 0.08


def test_ratings_and_emotions_are_legal_and_follow_what_was_felt():
    t = draw_truth(subjects=20, clips=9, seed=5).trials
    assert t["rating"].min() >= 1 and t["rating"].max() <= 9
    assert np.corrcoef(t["rating"].values[:, 0], t["felt"].values[:, 0])[0, 1] > 0.95
    places = np.array([EMOTIONS[e][1:] for e in t["emotion"].values])
    assert np.sqrt(((places - t["felt"].values) ** 2).sum(1)).mean() < 0.35
    assert set(t["emotion"].values) == set(EMOTIONS)


def test_dead_sensors_and_silent_faces_exist_from_six_subjects_on():
    many, few = draw_truth(subjects=8, clips=2, seed=0).subjects, draw_truth(subjects=3, clips=2, seed=0).subjects
    assert many["gsr_dead"].sum() == 1 and (many["gain"].sel(modality="face") == 0).sum() == 1
    assert not few["gsr_dead"].any() and (few["gain"] > 0).all()


def test_missing_trials_are_the_last_ones():
    t = draw_truth(subjects=[3, 9], clips=5, seed=0, missing={9: 2}).trials
    assert t["trial"].values[-3:].tolist() == ["S09/T01", "S09/T02", "S09/T03"] and t.sizes["trial"] == 8


def test_table_has_a_row_per_trial():
    table = trial_table(draw_truth(subjects=2, clips=3, seed=0))
    assert len(table) == 6 and {"felt_valence", "rating_arousal", "evidence_face_valence"} <= set(table)


def test_no_subject_is_refused():
    with pytest.raises(InputError, match="0 subjects"):
        draw_truth(subjects=0, clips=3, seed=0)
