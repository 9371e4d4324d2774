"""The committed evidence: complete, small, and honest about what failed."""

import re
from dataclasses import replace

import pandas as pd
import pytest

from bayesaffect.report import markdown
from bayesaffect.report.figures import scores as figures_scores
from bayesaffect.report.markdown import write_markdown

SECTIONS = ("scores", "calibration", "weights")
COMMAND = "bayesaffect report ws --markdown reports/study"


@pytest.fixture(scope="module")
def written(affect, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evidence")
    return write_markdown(affect, folder, command=COMMAND)


@pytest.fixture
def few(monkeypatch):
    """Three figures instead of all of them."""
    draw = figures_scores.differences
    monkeypatch.setattr(markdown, "catalogue", lambda findings: [(s, lambda: draw(findings)) for s in SECTIONS])


def test_the_first_line_is_the_command(written):
    assert written.read_text().splitlines()[0] == f"<!-- {COMMAND} -->"


def test_a_command_cannot_end_the_comment(affect):
    first = markdown.page(affect, (), "echo --> <script>").splitlines()[0]
    assert first.count("-->") == 1 and first.endswith("-->")


def test_every_figure_is_there_small_and_told(written):
    text = written.read_text()
    names = re.findall(r"!\[[^\]]*\]\((figures/[\w.-]+\.png)\)", text)
    assert 5 <= len(names) <= markdown.FIGURES
    files = [written.parent / name for name in names]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in files)
    assert sum(path.stat().st_size for path in files) <= markdown.BYTES
    assert [int(n) for n in re.findall(r"\*Figure (\d+)\.", text)] == [*range(1, len(names) + 1)]


def test_numbers_are_those_of_the_findings(affect, written):
    row = affect.value("late", "emotion", "nll")
    line = next(part for part in written.read_text().split("### emotion")[1].splitlines() if "late fusion" in part)
    assert f"{row['value']:.3f}" in line and f"[{row['low']:.3f}, {row['high']:.3f}]" in line
    table = pd.read_csv(written.parent / "scores.csv")
    found = table.query("model == 'late' and target == 'emotion' and score == 'nll'")["value"].item()
    assert found == pytest.approx(row["value"], rel=1e-5)


def test_records_hold_one_value_per_subject(affect, written):
    frame = pd.read_csv(written.parent / "records.csv")
    assert list(frame.columns) == ["fold", "subject", "model", "target", "score", "value", "trials"]
    of_one = frame.query("model == 'late' and target == 'emotion' and score == 'nll'")
    assert sorted(of_one["subject"]) == sorted(affect.data.index)
    mean = (of_one["value"] * of_one["trials"]).sum() / of_one["trials"].sum()
    assert mean == pytest.approx(affect.value("late", "emotion", "nll")["value"], rel=1e-4)


def test_records_of_the_study_win(affect, few, tmp_path):
    given = pd.DataFrame({"fold": [3], "subject": ["x"], "model": ["m"], "target": ["t"], "score": ["nll"]})
    given = given.assign(value=0.5, trials=7)
    write_markdown(replace(affect, sheets={"records": given}), tmp_path, command=COMMAND)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "records.csv"), given)


def test_what_failed_is_said_with_its_characters_intact(affect):
    failing = replace(
        affect, failures=("R-hat of kappa[eeg] is 1.2 <br>\nand more.",), cautions=("Labels *look* shuffled.",)
    )
    text = markdown.page(failing, (), COMMAND)
    assert "1 check failed" in text and r"kappa\[eeg\] is 1.2 \<br\> and more." in text
    assert r"Labels \*look\* shuffled." in text
    assert "No check failed" in markdown.page(affect, (), COMMAND)


def test_notes_stand_in_their_sections_once(affect):
    noted = replace(affect, notes={"scores": ("Guessing is as good.",), "robustness": ("The face fails first.",)})
    text = markdown.page(noted, (), COMMAND)
    assert text.count("Guessing is as good.") == text.count("The face fails first.") == 1
    assert text.index("## Scores") < text.index("Guessing") < text.index("## Weights") < text.index("The face fails")


def test_sentences_of_the_summary_stand_under_their_heads(affect):
    said = ("How sure: 90 of 100 held.", "A plain one.", "What was asked: what people felt.", "How sure: Not very.")
    text = markdown.page(replace(affect, summary=said), (), COMMAND)
    assert "A plain one.\n\n**What was asked.** what people felt.\n\n**How sure.** 90 of 100 held. Not very." in text


def test_a_target_has_a_line_and_what_else_is_said_of_it_stands_below(affect):
    said = ("How well: Valence: good.", "How well: Valence: A caution: so is guessing.", "How well: Emotion: bad.")
    text = markdown.page(replace(affect, summary=said), (), COMMAND)
    assert "**How well.**\n\n- **Valence**: good.\n  - A caution: so is guessing.\n- **Emotion**: bad.\n\n" in text
    assert "No check failed." in text and "nothing was flagged" not in text


def test_sections_are_in_order_and_none_is_empty(written):
    text = written.read_text()
    heads = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert heads[:3] == ["Summary", "Protocol", "Scores"] and heads[-3:-1] == ["Diagnostics", "How to reproduce"]
    assert all(part.strip() for part in re.split(r"^## .*$", text, flags=re.MULTILINE))


def test_tables_have_as_many_cells_in_every_row(written):
    blocks = re.findall(r"(?:^\|.*\|\n)+", written.read_text(), flags=re.MULTILINE)
    assert blocks
    for block in blocks:
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(counts) == 1, block


def test_figures_of_an_earlier_page_go_and_files_of_others_stay(affect, few, tmp_path):
    old = tmp_path / "figures" / "gone.png"
    old.parent.mkdir()
    old.write_bytes(b"old")
    (tmp_path / "figures" / "mine.png").write_bytes(b"not in any page")
    (tmp_path / "index.md").write_text("<!-- x -->\n\n![t](figures/gone.png)\n")
    write_markdown(affect, tmp_path, command=COMMAND)
    assert not old.exists() and (tmp_path / "figures" / "mine.png").exists()


def test_figures_stop_where_there_is_no_room(affect, few, tmp_path, monkeypatch):
    size = len(markdown._png(figures_scores.differences(affect)))
    monkeypatch.setattr(markdown, "BYTES", int(2.5 * size))
    drawn = list(markdown._drawn(affect, tmp_path))
    assert [section for section, _ in drawn] == ["scores", "calibration"]
    assert sum(path.stat().st_size for path in tmp_path.glob("*.png")) <= 2.5 * size


def test_figures_stop_where_there_are_enough(affect, few, tmp_path, monkeypatch):
    monkeypatch.setattr(markdown, "FIGURES", 1)
    assert [section for section, _ in markdown._drawn(affect, tmp_path)] == ["scores"]
