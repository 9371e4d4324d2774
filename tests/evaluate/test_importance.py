import itertools

import numpy as np
import pytest
import xarray as xr

from bayesaffect.errors import InputError
from bayesaffect.evaluate import coalitions, importance, scores
from bayesaffect.types import Predictive, Target

VALENCE, MOOD = Target("valence", bounds=(1, 9)), Target("mood", levels=("low", "mid", "high"))
PLAYERS = ("eeg", "face", "gsr")
SUBJECTS = 8


def study(gains, *, n=160, seed=0, redundant=False, players=PLAYERS, targets=(VALENCE, MOOD)):
    """Predictions of every coalition of independent sensors (or of copies of one), exact posteriors under the truth."""
    rng = np.random.default_rng(seed)
    trial, subject = [f"T{k:04d}" for k in range(n)], np.array([f"S{k % SUBJECTS}" for k in range(n)])
    y, label = rng.normal(0, 0.5, n), rng.integers(0, 3, n)
    noise = rng.normal(size=(len(players), n)), rng.normal(size=(len(players), n, 3))
    if redundant:
        noise = tuple(np.broadcast_to(a[:1], a.shape) for a in noise)
    coords = {"trial": trial, "subject": ("trial", subject)}
    who = xr.DataArray(subject, dims="trial", coords=coords)
    out = {}
    for coalition in coalitions.plan(players).coalitions:
        used = [players.index(m) for m in coalition][: 1 if redundant else None]
        precision, weighted, logit = np.full(n, 4.0), np.zeros(n), np.zeros((n, 3))
        for k in used:
            if gains[k]:
                p = gains[k] ** 2 * 4
                precision, weighted = precision + p, weighted + p * y + np.sqrt(p) * noise[0][k]
                logit = logit + gains[k] * (gains[k] * np.eye(3)[label] + noise[1][k])
        log_prob = logit - np.log(np.exp(logit).sum(1, keepdims=True))
        out[coalitions.named(coalition)] = Predictive(
            targets,
            who,
            {"valence": xr.DataArray((weighted / precision)[None], dims=("draw", "trial"), coords=coords)},
            {"valence": xr.DataArray(1 / precision[None], dims=("draw", "trial"), coords=coords)},
            {"mood": xr.DataArray(log_prob[None], dims=("draw", "trial", "level"), coords=coords)},
        )
    truth = xr.Dataset({"valence": ("trial", y), "mood": ("trial", label)}, coords={"trial": trial})
    return out, truth


def tables(made, **options):
    given = {"seed": 0, "resamples": 300} | options
    return importance.sheets(*made, (VALENCE, MOOD), PLAYERS, **given)


def brute_force(value, players):
    """The definition: the mean over all orders of what each one adds when it comes."""
    total = dict.fromkeys(players, 0.0)
    orders = list(itertools.permutations(players))
    for order in orders:
        for k, player in enumerate(order):
            total[player] += value[frozenset(order[: k + 1])] - value[frozenset(order[:k])]
    return np.array([total[p] / len(orders) for p in players])


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5])
def test_exact_values_are_the_mean_over_all_orders(m):
    players, rng = tuple("abcde"[:m]), np.random.default_rng(m)
    plan = coalitions.plan(players)
    value = rng.normal(size=len(plan.coalitions))
    by_set = {frozenset(c): v for c, v in zip(plan.coalitions, value, strict=True)}
    phi, error = coalitions.shapley(value, plan)
    np.testing.assert_allclose(phi, brute_force(by_set, players), atol=1e-12)
    assert plan.exact and len(plan.coalitions) == 2**m and (error == 0).all()
    assert phi.sum() == pytest.approx(value[-1] - value[0])


def test_sampled_orders_come_near_within_their_error_and_add_up():
    """Squared distances in squared errors are near those of Student's t, in twenty draws of the orders."""
    players, rng = tuple("abcdefg"), np.random.default_rng(1)
    whole = coalitions.plan(players, most=7)
    worth = {frozenset(c): v for c, v in zip(whole.coalitions, rng.normal(size=128), strict=True)}
    exact, _ = coalitions.shapley([worth[frozenset(c)] for c in whole.coalitions], whole)
    ratios = []
    for seed in range(20):
        plan = coalitions.plan(players, pairs=16, seed=seed)
        phi, error = coalitions.shapley(np.array([worth[frozenset(c)] for c in plan.coalitions]), plan)
        assert not plan.exact and len(plan.coalitions) < 128 and plan.coalitions[-1] == players
        assert phi.sum() == pytest.approx(worth[frozenset(players)] - worth[frozenset()])
        ratios.append(((phi - exact) / error) ** 2)
    # t with 15 degrees of freedom has a mean square of 1.15, and 140 dependent values an error of about 0.15
    assert 0.4 < np.mean(ratios) < 1.9


def test_more_orders_make_the_error_smaller_by_their_root():
    players, rng = tuple("abcdefg"), np.random.default_rng(2)
    worth = {frozenset(c): rng.normal() for c in coalitions.plan(players, most=7).coalitions}

    def error(pairs):
        plan = coalitions.plan(players, pairs=pairs)
        return coalitions.shapley(np.array([worth[frozenset(c)] for c in plan.coalitions]), plan)[1].mean()

    assert error(20) / error(320) == pytest.approx(4, rel=0.25)


def test_the_sheet_holds_the_values_of_log_scores_and_they_add_up():
    made = study((0.5, 1.0, 1.6))
    sheets = tables(made)
    predictives, truth = made
    nll = {
        n: {
            "mood": scores.nll(p.probability("mood").values, truth["mood"].values),
            "valence": float(
                scores.mixture_nll(
                    p.mean["valence"].values * 4, p.variance["valence"].values * 16, truth["valence"].values * 4
                ).mean()
            ),
        }
        for n, p in predictives.items()
    }
    for target in ("mood", "valence"):
        rows = sheets["shapley"].query("target == @target").set_index("modality")["value"]
        value = {frozenset(n.split("+")) if n != "prior" else frozenset(): -v[target] for n, v in nll.items()}
        np.testing.assert_allclose(rows[list(PLAYERS)], brute_force(value, PLAYERS), atol=1e-9)
        assert rows["total"] == pytest.approx(nll["prior"][target] - nll["eeg+face+gsr"][target])
        removed = sheets["removed"].query("target == @target").set_index(["modality", "measure"])["value"]
        assert removed["face", "last"] == pytest.approx(nll["eeg+gsr"][target] - nll["eeg+face+gsr"][target])
        assert removed["face", "alone"] == pytest.approx(nll["prior"][target] - nll["face"][target])
        shown = sheets["subsets"].query("target == @target and score == 'nll'").set_index("subset")["value"]
        assert shown.to_dict() == pytest.approx({n: v[target] for n, v in nll.items()})


def test_other_scores_of_the_subsets_are_the_plain_functions():
    predictives, truth = made = study((0.5, 1.0, 1.6))
    table = tables(made)["subsets"].set_index(["target", "subset", "score"])
    p = predictives["eeg+gsr"]
    mean, variance, y = p.mean["valence"].values, p.variance["valence"].values, truth["valence"].values
    assert table.loc["valence", "eeg+gsr", "rmse"].value == pytest.approx(4 * scores.rmse(mean[0], y))
    assert table.loc["valence", "eeg+gsr", "coverage90"].value == scores.coverage(mean, variance, y, 0.9)
    right = scores.accuracy(p.probability("mood").values, truth["mood"].values)
    row = table.loc["mood", "eeg+gsr", "accuracy"]
    assert row.value == right and row.low < right < row.high and row["size"] == 2 and row.trials == 160


def test_a_useless_sensor_is_worth_nothing_and_a_copy_shares():
    useless = tables(study((1.0, 0.0, 1.0)))["shapley"].set_index(["target", "modality"])
    assert abs(useless.loc["mood", "face"].value) < 1e-12 and abs(useless.loc["valence", "face"].value) < 1e-12
    copies = tables(study((1.2, 1.2, 1.2), redundant=True))
    rows = copies["shapley"].query("target == 'mood'").set_index("modality")["value"]
    np.testing.assert_allclose(rows[list(PLAYERS)], rows["total"] / 3)
    last = copies["removed"].query("measure == 'last'")
    assert (last["value"].abs() < 1e-12).all()
    said = importance.sentences(copies)
    assert all("adds nothing clear once the others are there" in s for s in said[1::2]) and len(said) == 4


def test_a_sensor_that_harms_is_said_to():
    predictives, truth = study((1.0, 1.0, 1.0))
    for name, p in predictives.items():
        if "gsr" in name:  # planted: far too sure of what it is told
            p.log_prob["mood"].values[:] = np.log(np.full(3, 1 / 3)) + 12 * (np.eye(3)[0] - 1 / 3)
            p.log_prob["mood"].values[:] -= np.log(np.exp(p.log_prob["mood"].values).sum(-1, keepdims=True))
    sheets = tables((predictives, truth))
    row = sheets["removed"].query("target == 'mood' and modality == 'gsr' and measure == 'last'").iloc[0]
    assert row.high < 0
    said = importance.sentences(sheets)
    assert any("better without gsr" in s for s in said)
    total = sheets["shapley"].query("target == 'mood' and modality == 'total'")["value"].item()
    assert total < 0 and any(f"Mood: the modalities together gain nothing, {total:.3f}" in s for s in said)


def test_a_sensor_that_the_joint_fit_does_not_heed_is_cautioned_about():
    """Planted: fusion gives face no weight beside gsr, a fusion of its own would."""
    fitted, truth = study((1.2, 1.2, 1.2), redundant=True)
    deaf = {n: fitted["prior" if n == "face" else n.replace("face+", "").replace("+face", "")] for n in fitted}
    sheets = tables((deaf, truth), refits=fitted)
    said = [s for s in importance.sentences(sheets) if "a caution" in s]
    assert len(said) == 2 and all(": face alone gains 0.000 nats" in s for s in said)
    worth = sheets["shapley"].set_index(["target", "modality"])
    assert worth.loc[("mood", "face"), "value"] == pytest.approx(0, abs=1e-12)
    assert worth.loc[("mood", "face"), "refit"] == pytest.approx(worth.loc[("mood", "total"), "refit"] / 3)
    assert not any("a caution" in s for s in importance.sentences(tables((fitted, truth), refits=fitted)))


def test_each_subject_has_values_of_its_own_that_average_to_the_whole():
    sheets = tables(study((0.5, 1.0, 1.6)))
    own = sheets["leaning"].query("target == 'mood'")
    mean = own.groupby("modality")["value"].mean()  # equally many trials each
    whole = sheets["shapley"].query("target == 'mood'").set_index("modality")["value"]
    np.testing.assert_allclose(mean[list(PLAYERS)], whole[list(PLAYERS)])
    assert own["value"].std() > 0 and (own["trials"] == 160 // SUBJECTS).all()


@pytest.mark.statistical
def test_intervals_hold_the_expected_value():
    """The expected Shapley values are those of 40,000 trials; intervals of 8 subjects hold them."""
    gains = (0.5, 1.0, 1.4)
    truly = tables(study(gains, n=40_000, seed=99), resamples=2)["shapley"]["value"].to_numpy()
    inside = []
    for seed in range(30):
        table = tables(study(gains, seed=seed))["shapley"]
        inside.append((table["low"].to_numpy() <= truly) & (truly <= table["high"].to_numpy()))
    # percentile intervals of eight subjects are short: about 0.83; 5 errors of 30 studies below
    assert 0.6 < np.mean(inside) < 0.97


def test_a_name_can_hold_a_plus_and_none_may_be_missing():
    plan = coalitions.plan(("a", "a+b"))
    assert plan.names == ("prior", "a", "a+b", "a+a+b")
    with pytest.raises(InputError, match="not modalities of different names"):
        coalitions.plan(("a", "a"))
    predictives, truth = study((1, 1, 1))
    with pytest.raises(InputError, match="no predictions of 'face\\+gsr'"):
        tables(({n: p for n, p in predictives.items() if n != "face+gsr"}, truth))
    with pytest.raises(InputError, match="other trials"):
        tables((predictives | {"gsr": predictives["gsr"].select(np.arange(100))}, truth))


def test_a_target_without_truth_has_no_rows():
    predictives, truth = study((1, 1, 1))
    sheets = tables((predictives, truth.assign(mood=("trial", np.full(160, -1)))))
    assert set(sheets["shapley"]["target"]) == {"valence"}
