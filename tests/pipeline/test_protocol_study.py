"""A table fused under a protocol other than across-subject, from the command to the page."""

import json

import pandas as pd
import pytest

from bayesaffect.cli import main
from bayesaffect.io.opinions_write import write_table
from bayesaffect.simulate import simulate_opinions
from bayesaffect.types import Target

pytestmark = pytest.mark.slow
EXAMINED = ("subsets", "robustness")
QUICK = "--folds 3 --draws 60 --chains 2".split()


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    opinions, _ = simulate_opinions(
        subjects=5, trials=6, modalities=["eeg", "face"], targets=[Target("valence", bounds=(1, 9))], seed=2
    )
    return write_table(opinions, tmp_path_factory.mktemp("table") / "table.csv")


@pytest.mark.parametrize(
    ("protocol", "said", "trials"),
    [
        ("across-elicitor", "6 stimuli in 3 groups", 30),
        ("across-time", "cut into 3 parts", 20),
        ("within-subject", "dealt at random into 3 folds", 30),
    ],
)
def test_the_page_says_the_protocol_and_scores_what_was_tested(table, tmp_path, protocol, said, trials):
    with pytest.raises(SystemExit) as end:
        main(["fuse", str(table), str(tmp_path / "ws"), *QUICK, "--protocol", protocol])
    assert not end.value.code
    page = (tmp_path / "ws" / "report" / "index.html").read_text(encoding="utf-8")
    assert said in page and "use across-subject for what to expect of " in page
    scores = pd.read_csv(tmp_path / "ws" / "report" / "scores.csv")
    counted = scores[scores.score == "rmse"].set_index("model")["trials"]
    assert (counted == trials).all() and {"late", "prior", "stacking", "eeg"} <= set(counted.index)
    kept = json.loads((tmp_path / "ws" / "study.json").read_text())["protocol"]
    assert kept == protocol.removeprefix("across-").removesuffix("-subject")
    nll = scores[scores.score == "nll"].set_index("model")["value"]
    sheet = {name: pd.read_csv(tmp_path / "ws" / "report" / "tables" / f"{name}.csv") for name in EXAMINED}
    subset = sheet["subsets"].query("score == 'nll'").set_index("subset")["value"]
    assert subset["prior"] == pytest.approx(nll["prior"], abs=1e-5)
    assert subset["eeg+face"] == pytest.approx(nll["late"], abs=0.02)  # draws merged into few Gaussians
    untouched = sheet["robustness"].query("strength == 0 and modality == 'eeg'").set_index(["kind", "score"])
    assert untouched.loc[("noise", "nll"), "value"] == pytest.approx(nll["late"], abs=0.02)
    assert untouched.loc[("noise", "nll"), "trials"] == trials
    assert untouched.loc[("noise", "nll_alone"), "value"] == pytest.approx(nll["eeg"], abs=1e-6)


def test_a_version_is_asked_for_where_there_is_none(table, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["fuse", str(table), str(tmp_path / "ws"), *QUICK, "--protocol", "across-version"])
    assert end.value.code == 2 and "give a column version" in capsys.readouterr().err
