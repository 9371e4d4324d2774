"""What ArviZ does with our objects, in whichever of 0.x and 1.x is installed."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from bayesaffect.fusion import gate, idata

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import arviz as az

pytestmark = pytest.mark.filterwarnings("ignore")  # what ArviZ and its plots say about themselves
CHAINS, DRAWS, TRIALS = 4, 500, 30
MODALITIES, SUBJECTS = ["eeg", "face", "physio"], ["S1", "S2"]


def posterior(seed: int, worse: float = 0.0):
    rng = np.random.default_rng(seed)
    shape = (CHAINS, DRAWS)
    groups = {
        "posterior": {
            "tau": rng.lognormal(size=shape),
            "w": rng.normal([1.0, 2.0, 3.0], 0.1, size=(*shape, 3)),
            "rho": rng.normal(size=(*shape, 2, 3)),
        },
        "sample_stats": {"diverging": np.zeros(shape, bool), "energy": rng.normal(size=shape)},
        "log_likelihood": {"valence": np.linspace(-2, 0, TRIALS) - worse + rng.normal(0, 0.05, (*shape, TRIALS))},
        "posterior_predictive": {"valence": rng.normal(size=(*shape, TRIALS))},
        "observed_data": {"valence": rng.normal(size=TRIALS)},
        "constant_data": {"n_used": np.array([20, 10])},
    }
    coords = {"modality": MODALITIES, "subject": SUBJECTS, "trial": [f"t{i}" for i in range(TRIALS)]}
    dims = {"w": ["modality"], "rho": ["subject", "modality"], "valence": ["trial"], "n_used": ["subject"]}
    return idata.build(groups, coords=coords, dims=dims, attrs={"kind": "continuous"})


@pytest.fixture(scope="module")
def made():
    return posterior(0)


def test_summary_names_every_scalar_by_its_coordinates(made):
    table = az.summary(made, round_to="none")
    assert {"tau", "w[face]", "rho[S2, physio]"} <= set(table.index) and len(table) == 1 + 3 + 6
    assert table.loc["w[physio]", "mean"] == pytest.approx(3.0, abs=0.02)


def test_rhat_and_ess_are_those_of_the_gate(made):
    table = gate(made).table
    draws = made["posterior"]["w"].sel(modality="face").transpose("chain", "draw").values
    assert table.loc["w[face]", "ess_bulk"] == pytest.approx(float(az.ess(draws, method="bulk")))
    assert table.loc["w[face]", "r_hat"] == pytest.approx(float(az.rhat(draws)))


def test_forest_and_trace_are_drawn(made):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    for draw in (az.plot_forest, getattr(az, "plot_trace_dist", az.plot_trace)):
        assert draw(made, var_names=["w"]) is not None
    pyplot.close("all")


def test_loo_is_finite_and_compare_ranks_the_better_model_first(made):
    found = az.loo(made, pointwise=True)
    elpd = found.elpd if hasattr(found, "elpd") else found.elpd_loo
    assert elpd == pytest.approx(np.linspace(-2, 0, TRIALS).sum(), abs=0.5)
    table = az.compare({"worse": posterior(1, worse=0.5), "better": made})
    assert list(table.index) == ["better", "worse"]


def test_a_file_is_read_back_as_the_object_of_this_version(made, tmp_path):
    idata.save(made, tmp_path / "posterior.nc")
    for read in (idata.load(tmp_path / "posterior.nc"), az.from_netcdf(str(tmp_path / "posterior.nc"))):
        assert type(read) is type(made)
        assert idata.attribute(read, "kind") == "continuous"
        np.testing.assert_array_equal(read["posterior"]["rho"].values, made["posterior"]["rho"].values)
        assert list(read["posterior"]["rho"].dims) == ["chain", "draw", "subject", "modality"]
