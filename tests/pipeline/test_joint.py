"""All targets as one model, through the command line: every posterior knows the coupling, nothing is fitted twice."""

import arviz as az
import pytest

from bayesaffect.cli import main
from bayesaffect.io.opinions_write import write_table
from bayesaffect.simulate import simulate_opinions
from bayesaffect.types import Target

pytestmark = pytest.mark.slow
TARGETS = (Target("valence", (1.0, 9.0)), Target("arousal", (1.0, 9.0)))


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    return end.value.code or 0


def test_a_joint_fit_serves_every_target(tmp_path):
    opinions, _ = simulate_opinions(targets=TARGETS, subjects=6, trials=8, modalities=("eeg", "face"), seed=0)
    write_table(opinions, tmp_path / "table.csv")
    command = ("fuse", tmp_path / "table.csv", tmp_path / "ws", "--joint", "--folds", 3, "--draws", 60, "--chains", 2)
    command += ("--bounds", "valence=1:9", "--bounds", "arousal=1:9", "--no-robustness")
    assert run(*command) == 0
    for target in ("valence", "arousal"):
        posterior = az.from_netcdf(tmp_path / "ws" / "fusion" / f"late_{target}.nc")
        assert posterior["posterior"]["coupling"].dims == ("chain", "draw", "modality")
    folds = sorted((tmp_path / "ws" / "fusion" / "folds").glob("*-posterior.nc"))
    assert len(folds) == 6
    before = {path: path.stat().st_mtime_ns for path in folds}
    assert run(*command) == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_what_cannot_be_joined_is_one_sentence(tmp_path, capsys):
    opinions, _ = simulate_opinions(targets=TARGETS, subjects=4, trials=4, modalities=("eeg", "face"), seed=0)
    write_table(opinions, tmp_path / "table.csv")
    command = ("fuse", tmp_path / "table.csv", tmp_path / "ws", "--joint", "--likelihood", "student", "--folds", 2)
    assert run(*command, "--bounds", "valence=1:9", "--bounds", "arousal=1:9") == 2
    assert "joint" in capsys.readouterr().err
