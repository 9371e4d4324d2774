"""Tables in a terminal of 80 columns: nothing is cut, no word and no number is broken."""

import pandas as pd
import pytest

from bayesaffect.cli import output

MODELS = ["late", "hybrid", "electrodermal", "temperature", "equal"]
NUMBERS = "elpd_loo p_loo elpd_diff weight se dse".split()
LOO = pd.DataFrame(
    {"model": MODELS, "rank": range(5)}
    | {name: [-1234.5678, 0.25, 31.5, 4.0, 12.125] for name in NUMBERS}
    | {"warning": False}
)
SCORES = pd.DataFrame(
    {"model": MODELS} | {name: "1.034 [0.985, 1.234]" for name in ("nll", "rmse", "coverage90")} | {"trials": 2226}
)
WEIGHTS = pd.DataFrame({"subject": MODELS} | {name: "0.29 [0.12, 0.43]" for name in ("prior", *MODELS[:4])})


@pytest.mark.parametrize("frame", [LOO, SCORES, WEIGHTS])
def test_what_stands_in_it_is_whole_at_80_columns(frame, monkeypatch):
    monkeypatch.setattr(output, "console", output.Console(width=80))
    with output.console.capture() as shown:
        output.print_table(frame, "title")
    lines = shown.get().splitlines()
    assert max(map(len, lines)) <= 80 and "…" not in shown.get()
    words = [w for column in frame for v in frame[column] for w in output._cell(v).replace(" [", "\n[").split("\n")]
    told = "\n".join(lines)
    assert all(told.count(word) >= words.count(word) for word in set(words) | set(frame.columns))


def test_an_interval_stands_beside_its_value_where_there_is_room(monkeypatch):
    monkeypatch.setattr(output, "console", output.Console(width=120))
    with output.console.capture() as shown:
        output.print_table(SCORES, "title")
    assert shown.get().count("1.034 [0.985, 1.234]") == 3 * len(MODELS)
