import time

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayesaffect.io import frames, opinions_write
from bayesaffect.io import opinions as door
from bayesaffect.types import Opinions, Target

HEADER = "trial,subject,modality,stimulus,mean_valence,var_valence,low_valence,high_valence"
TEXT = f"""{HEADER},truth_valence,p_sad,p_glad,truth_mood,x_blink
T1,07,face,clip,5,1,1,9,7,0.25,0.75,glad,3.5
T1,07,voice,clip,10,4,1,9,7,0.5,0.5,glad,
T2,08,voice,film,3,2,1,9,,1,0,,
"""


def written(tmp_path, text=TEXT, name="table.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def full(seed=0, n=20):
    rng = np.random.default_rng(seed)
    trial, subject = [f"S{k % 4}/T{k}" for k in range(n)], [f"S{k % 4}" for k in range(n)]
    here = rng.random((n, 2)) < 0.7
    here[0] = here[:, 0] = True
    coords = {"trial": trial, "modality": ["eeg", "face"], "subject": ("trial", subject), "stimulus": ("trial", trial)}
    present = xr.DataArray(here, dims=("trial", "modality"), coords=coords)

    def grid(values, *extra, **more):
        values = np.where(here.reshape(n, 2, *[1] * len(extra)), values, np.nan)
        return xr.DataArray(values, dims=("trial", "modality", *extra), coords=dict(present.coords) | more)

    levels = {"mood": ("bad", "good"), "emotion": ("a", "b", "c")}
    targets = (Target("valence", bounds=(1, 9)), *(Target(t, levels=v) for t, v in levels.items()))
    truth = {"valence": ("trial", np.where(rng.random(n) < 0.2, np.nan, rng.uniform(-1, 1, n)))}
    truth |= {t: ("trial", rng.integers(-1, len(v), n)) for t, v in levels.items()}
    truth["spread_valence"] = ("trial", rng.uniform(0, 0.3, n))
    log_prob = {
        t: grid(np.log(rng.dirichlet(np.ones(len(v)), (n, 2))), "level", level=list(v)) for t, v in levels.items()
    }
    seen = np.zeros((n, 2, 4), dtype=bool)
    seen[np.arange(n), :, (np.arange(n) + 1) % 4] = True
    coords = dict(present.coords) | {"trained_subject": ["S0", "S1", "S2", "S3"]}
    block = np.where(here[:, 1:], rng.normal(size=(n, 3)), np.nan)
    face = xr.DataArray(block, dims=("trial", "feature"), coords={"trial": trial, "feature": ["u", "v", "w"]})
    return Opinions(
        targets,
        present,
        xr.Dataset(truth, coords={"trial": trial}),
        {"valence": grid(rng.normal(size=(n, 2)))},
        {"valence": grid(rng.uniform(0.1, 1, (n, 2)))},
        log_prob,
        xr.DataArray(seen, dims=("trial", "modality", "trained_subject"), coords=coords),
        embedding={"face": face},
        quality=grid(rng.random((n, 2))),
    )


def test_a_table_by_hand(tmp_path):
    got = door.read_table(written(tmp_path))
    assert got.modalities == ("face", "voice") and got.subject.values.tolist() == ["07", "08"]
    assert got.present.values.tolist() == [[True, True], [False, True]]
    assert got.present["stimulus"].values.tolist() == ["clip", "film"]
    assert got.targets == (Target("valence", bounds=(1, 9)), Target("mood", levels=("sad", "glad")))
    assert got.mean["valence"].values[0].tolist() == [0, 1.25] and np.isnan(got.mean["valence"].values[1, 0])
    assert got.variance["valence"].values[0].tolist() == [1 / 16, 4 / 16] and got.variance_known
    assert got.truth["valence"].values == pytest.approx([0.5, np.nan], nan_ok=True)
    assert got.truth["mood"].values.tolist() == [1, -1]
    assert np.exp(got.log_prob["mood"].values[:, 1]) == pytest.approx(np.array([[0.5, 0.5], [1, 0]]), abs=1e-9)
    assert list(got.embedding) == ["face"] and got.embedding["face"].values[0, 0] == 3.5


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_round_trip_of_the_table(tmp_path, name):
    before = full()
    after = door.read_table(opinions_write.write_table(before, tmp_path / name))
    assert after.targets == before.targets and after.modalities == before.modalities
    xr.testing.assert_equal(after.present, before.present)
    for kind in ("mean", "variance", "log_prob"):
        for target, array in getattr(before, kind).items():
            assert getattr(after, kind)[target].values == pytest.approx(array.values, abs=1e-12, nan_ok=True)
    for target, array in before.truth.items():
        assert after.truth[target].values == pytest.approx(array.values, abs=1e-12, nan_ok=True)
    xr.testing.assert_allclose(after.embedding["face"], before.embedding["face"], rtol=1e-15)
    assert after.quality.values == pytest.approx(before.quality.values, nan_ok=True)


def test_bounds_may_come_from_outside(tmp_path):
    text = "trial,subject,modality,mean_valence\nT1,A,face,5\n"
    got = door.read_table(written(tmp_path, text), bounds={"valence": (0, 10)})
    assert got.mean["valence"].item() == 0 and got.targets[0].bounds == (0, 10)
    assert not got.variance_known and got.variance["valence"].item() == 1
    assert np.isnan(got.truth["valence"].item()) and got.present["stimulus"].item() == ""


def test_unknown_variance_stays_unknown_on_disk(tmp_path):
    text = "trial,subject,modality,mean_valence,low_valence,high_valence\nT1,A,face,5,0,9\n"
    got = door.read_table(written(tmp_path, text))
    again = door.read_table(opinions_write.write_table(got, tmp_path / "again.csv"))
    assert not again.variance_known


def test_class_names_that_look_like_missing_values(tmp_path):
    text = "trial,subject,modality,p_NA,p_None,truth\n1,2,face,0.5,0.5,NA\n2,2,face,0.5,0.5,None\n3,2,face,.5,.5,\n"
    got = door.read_table(written(tmp_path, text))
    assert got.targets[0] == Target("class", levels=("NA", "None"))
    assert got.truth["class"].values.tolist() == [0, 1, -1]


def test_shares_are_renormalised_within_the_tolerance(tmp_path):
    text = "trial,subject,modality,p_a,p_b\nT1,A,face,0.3333,0.667\n"
    got = door.read_table(written(tmp_path, text))
    assert np.exp(got.log_prob["class"].values).sum() == pytest.approx(1, abs=1e-12)
    assert np.exp(got.log_prob["class"].values[0, 0, 0]) == pytest.approx(0.3333 / 1.0003)


def test_parquet_with_numeric_names(tmp_path):
    frame = pd.DataFrame({"trial": [1, 2], "subject": [7, 8], "modality": "face", "p_a": [0.1, 0.2], "p_b": [0.9, 0.8]})
    frame["truth"] = ["a", None]
    frame.to_parquet(tmp_path / "t.parquet")
    got = door.read_table(tmp_path / "t.parquet")
    assert got.subject.values.tolist() == ["7", "8"] and got.truth["class"].values.tolist() == [0, -1]


def test_truth_may_stand_in_one_row_only(tmp_path):
    got = door.read_table(written(tmp_path, TEXT.replace("clip,5,1,1,9,7", "clip,5,1,1,9,")))
    assert got.truth["valence"].values[0] == pytest.approx(0.5)


def test_byte_order_mark_and_blank_lines(tmp_path):
    got = door.read_table(written(tmp_path, "\ufeff" + TEXT.replace("T2", "\nT2") + "\n\n"))
    assert got.present.sizes["trial"] == 2


def test_many_rows_are_quick(tmp_path):
    rng = np.random.default_rng(0)
    prob = rng.dirichlet(np.ones(6), 30_000)
    frame = pd.DataFrame(
        {"trial": [f"T{k // 2}" for k in range(30_000)], "subject": [f"S{k // 1000}" for k in range(30_000)]}
    )
    frame["modality"] = ["face", "voice"] * 15_000
    frame = frame.assign(truth="c", mean_v=prob[:, 0], var_v=1.5, low_v=0, high_v=1)
    frame = pd.concat([frame, pd.DataFrame(prob, columns=[f"p_{c}" for c in "abcdef"])], axis=1)
    frames.write_frame(frame, tmp_path / "t.csv")
    start = time.process_time()
    got = door.read_table(tmp_path / "t.csv")
    assert time.process_time() - start < 1.5  # 100,000 rows took 1.2 s of processor time
    assert got.present.sizes["trial"] == 15_000
