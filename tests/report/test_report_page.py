from __future__ import annotations

import itertools
import json
import re
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bayesaffect.report import tables
from bayesaffect.report.figures.catalogue import catalogue
from bayesaffect.report.figures.scores import score_name
from bayesaffect.report.page import write_report
from bayesaffect.report.sections import SECTIONS
from bayesaffect.types import Omission


@pytest.fixture(scope="module")
def written(affect, tmp_path_factory):
    """A page with a few of its figures: the catalogue has tests of its own."""
    few = [entry for entry in catalogue(affect) if entry[1].func.__name__ in ("scores", "confusion")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bayesaffect.report.page.catalogue", lambda findings: few)
        return write_report(affect, tmp_path_factory.mktemp("report"))


def test_the_first_line_says_how_to_make_it_again(written):
    assert "made by: bayesaffect" in written.read_text(encoding="utf-8").splitlines()[0]


def test_files(written):
    folder = written.parent
    figures = {p.stem for p in (folder / "figures").glob("*.png")}
    assert figures == {"scores", "confusion_emotion"}
    assert figures == {p.stem for p in (folder / "figures").glob("*.pdf")}
    assert figures == {p.stem for p in (folder / "figures").glob("*.svg")}
    tables = {p.stem for p in (folder / "tables").glob("*.csv")}
    assert (
        tables
        == {p.stem for p in (folder / "tables").glob("*.tex")}
        == {
            "scores",
            "scores_valence",
            "scores_arousal",
            "scores_emotion",
            "data",
            "omissions",
            "weights",
            "subjects",
            "diagnostics",
            "differences",
        }
    )
    assert not list(folder.rglob(".*"))


def test_page_is_self_contained_and_small(written):
    text = written.read_text()
    assert written.stat().st_size < 8e6
    assert not re.findall(r'<(?:img|link|iframe|source)\b[^>]*(?:src|href)="(?!data:)[^"]*"', text)
    assert "<script" not in text and "https:" not in text and "http:" not in text and "@import" not in text


def test_scores_files(written, affect):
    table = pd.read_csv(written.parent / "scores.csv")
    assert list(table.columns[:6]) == ["model", "target", "score", "value", "low", "high"]
    pd.testing.assert_series_equal(table["value"], affect.scores["value"].reset_index(drop=True))
    assert json.loads((written.parent / "scores.json").read_text())[0]["value"] == table["value"][0]


def test_numbers_on_the_page_are_those_of_the_table(written, affect):
    text = written.read_text()
    for model in affect.models:
        row = affect.value(model, "valence", "nll")
        assert f"{row['value']:.3f}</b>" in text or f"{row['value']:.3f} <span" in text
        assert f"[{row['low']:.3f}, {row['high']:.3f}]" in text


def test_best_of_a_column_is_bold(written, affect):
    rows = affect.scores.query("target == 'valence' and score == 'nll'")
    best, worst = rows["value"].min(), rows["value"].max()
    text = written.read_text()
    assert f"<b>{best:.3f} <span" in text
    assert f"<b>{worst:.3f} <span" not in text


def test_fits_that_were_drawn_again_are_told(affect, tmp_path, monkeypatch):
    monkeypatch.setattr("bayesaffect.report.page.catalogue", lambda findings: [])
    page = write_report(replace(affect, repeated=("valence: drawn 2 times; at first: <1> diverged",)), tmp_path)
    assert "drawn 2 times; at first: &lt;1&gt; diverged" in page.read_text()


def test_failures_come_before_everything_else(affect, tmp_path, monkeypatch):
    monkeypatch.setattr("bayesaffect.report.page.catalogue", lambda findings: [])
    page = write_report(replace(affect, failures=("R-hat of <kappa> is 1.03",)), tmp_path).read_text()
    assert page.index("R-hat of &lt;kappa&gt; is 1.03") < page.index(affect.summary[0])
    assert "All diagnostics passed" not in page


def test_banner_passes_only_when_the_chains_agree(affect, tmp_path, monkeypatch):
    monkeypatch.setattr("bayesaffect.report.page.catalogue", lambda findings: [])
    good = write_report(affect, tmp_path / "good").read_text()
    posterior = affect.posteriors["late"].copy()
    posterior.posterior["tau"] = posterior.posterior["tau"] + 5 * posterior.posterior["chain"]
    bad = write_report(replace(affect, posteriors={"late": posterior}), tmp_path / "bad").read_text()
    assert "All diagnostics passed" in good
    assert "All diagnostics passed" not in bad and "not beyond doubt" in bad


def test_the_page_tells_what_a_poor_signal_costs(affect, tmp_path, monkeypatch):
    monkeypatch.setattr("bayesaffect.report.page.catalogue", lambda findings: [])
    share = np.random.default_rng(0).beta(30, 10, (4, 250, 3))
    learnt = affect.posteriors["late"].copy()
    learnt.posterior["quality_discount"] = (("chain", "draw", "modality"), share)
    text = write_report(replace(affect, posteriors={"valence": learnt}), tmp_path / "with").read_text()
    low, half, high = np.quantile(share[..., 1], (0.05, 0.5, 0.95))
    assert "What a poor signal costs" in text
    assert f'{half:.2f} <span class="interval">[{low:.2f}, {high:.2f}]' in text
    assert "What a poor signal costs" not in write_report(affect, tmp_path / "without").read_text()


def sections(text):
    return re.findall(r"<section id=[^>]* aria-label=\"([^\"]*)\"", text)


def test_the_order_of_the_page_is_that_of_a_reader(written):
    shown = sections(written.read_text())
    assert shown == [title for title in SECTIONS.values() if title in shown]
    assert shown[:3] == ["Summary", "Protocol", SECTIONS["failed"]] and shown[-2:] == [
        "How to reproduce",
        SECTIONS["words"],
    ]


def test_cautions_follow_failures_and_both_come_before_results(affect, tmp_path, monkeypatch):
    monkeypatch.setattr("bayesaffect.report.page.catalogue", lambda findings: [])
    flagged = replace(affect, failures=("A chain <got> stuck.",), cautions=("The face lags by one trial.",))
    text = write_report(flagged, tmp_path).read_text()
    places = [text.index(part) for part in ("A chain &lt;got&gt; stuck.", "The face lags", affect.summary[0])]
    assert places == sorted(places) and "One thing to be careful with" in text
    assert "be careful with.</strong>" not in write_report(affect, tmp_path / "clean").read_text()


def test_sheets_notes_and_hashes_reach_the_page_and_the_disk(affect, tmp_path, monkeypatch):
    monkeypatch.setattr("bayesaffect.report.page.catalogue", lambda findings: [])
    row = {"target": "valence", "modality": "eeg", "value": 0.12, "low": 0.05, "high": 0.2}
    told = replace(
        affect,
        sheets={"shapley": pd.DataFrame([row]), "records": pd.DataFrame({"subject": ["S_1"], "value": [np.nan]})},
        notes={"importance": ("Taking the <face> away costs 0.12 nats.",)},
        hashes={"opinions": "0a1b2c"},
    )
    page = write_report(told, tmp_path)
    text = page.read_text()
    assert "Taking the &lt;face&gt; away" in text and "0.120 [0.050, 0.200]" in text and "0a1b2c" in text
    assert SECTIONS["importance"] in sections(text) and SECTIONS["robustness"] not in sections(text)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "tables" / "shapley.csv"), told.sheets["shapley"])
    assert r"S\_1 & --" in (tmp_path / "tables" / "records.tex").read_text()


def test_sentences_stand_under_their_heads(affect, tmp_path, monkeypatch):
    monkeypatch.setattr("bayesaffect.report.page.catalogue", lambda findings: [])
    lines = ("A sentence of its own.", "How sure: Valence: as <sure> as it says.", "How well: Arousal: well.")
    lines += ("How well: Arousal: A caution: so is <guessing>.", "How well: Emotion: badly.")
    text = write_report(replace(affect, summary=lines), tmp_path).read_text()
    below = "<ul><li>A caution: so is &lt;guessing&gt;.</li></ul>"
    assert f"<dd><p><b>Arousal</b>: well.</p>{below}<p><b>Emotion</b>: badly.</p></dd>" in text
    assert "<dt>How sure</dt><dd><p><b>Valence</b>: as &lt;sure&gt; as it says.</p></dd>" in text
    assert text.index("A sentence of its own.") < text.index("<dt>How well</dt>") < text.index("<dt>How sure</dt>")
    assert "For whom it fails" not in text
    cautions = text.partition("<h3>Cautions</h3>")[2]
    assert cautions.startswith("<ul><li>Arousal: so is &lt;guessing&gt;.</li></ul>")


def test_no_level_of_headings_is_skipped(written):
    levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", written.read_text())]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))


def test_the_folder_of_the_data_is_not_told(affect, tmp_path, monkeypatch):
    monkeypatch.setattr("bayesaffect.report.page.catalogue", lambda findings: [])
    lost = tuple(Omission(f"/home/someone/data/Sessions/{k}/film.avi", "broken") for k in (3, 14))
    text = write_report(replace(affect, omissions=lost), tmp_path).read_text()
    assert "/home/someone" not in text and "14/film.avi" in text
    one = tables.places((Omission("/home/someone/data/film.avi", "broken"), Omission("S1/T2", "gone")))
    assert one == ["film.avi", "S1/T2"]


@pytest.mark.slow
def test_a_full_size_study_has_its_figures_in_time_and_in_8_mb(full_size, tmp_path):
    """Time is that of the processor, so that neighbours do not count."""
    start = time.process_time()
    page = write_report(full_size, tmp_path)
    assert time.process_time() - start < 60
    assert page.stat().st_size < 8e6
    names = {re.sub(r"_(valence|arousal|emotion)$", "", p.stem) for p in (tmp_path / "figures").glob("*.png")}
    assert len(names) >= 15
    for suffix in ("pdf", "svg"):
        assert len(list((tmp_path / "figures").glob(f"*.{suffix}"))) == len(list((tmp_path / "figures").glob("*.png")))
    assert "<text" in (tmp_path / "figures" / "scores.svg").read_text()


def test_notes_on_a_target_stand_together(affect, tmp_path, monkeypatch):
    monkeypatch.setattr("bayesaffect.report.page.catalogue", lambda findings: [])
    lines = ("arousal: one.", "valence: <two>.", "Of both.", "arousal: three.")
    text = write_report(replace(affect, notes={"robustness": lines}), tmp_path).read_text()
    order = ("<b>Valence</b>: &lt;two&gt;.", "<b>Arousal</b>: one.", "<b>Arousal</b>: three.", "<li>Of both.</li>")
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_many_failures_leave_the_first_screen_to_the_findings(affect, tmp_path, monkeypatch):
    monkeypatch.setattr("bayesaffect.report.page.catalogue", lambda findings: [])
    failures = tuple(f"R-hat of quantity {k} is 1.03." for k in range(13))
    text = write_report(replace(affect, failures=failures), tmp_path).read_text()
    banner = text[text.index('<div class="banner failed"') : text.index('<div class="tiles"')]
    assert "13 checks failed" in banner and "may not have settled" in banner
    assert banner.count("R-hat of quantity") == 3 and "And 10 more" in banner
    whole = re.search(r'<section id="([^"]*)" aria-label="What failed.*?</section>', text, re.DOTALL)
    assert all(line in whole[0] for line in failures) and f'href="#{whole[1]}"' in banner


def test_every_abbreviation_of_the_main_tables_is_explained(written, affect):
    text = written.read_text()
    told = text[text.index(f'aria-label="{SECTIONS["words"]}"') :].lower()
    for target in affect.targets:
        for score in tables.main_scores(affect, target.name):
            name = score_name(score).split(" (")[0].split(" of ")[0].lower()
            assert name.removeprefix("balanced ") in told, score
    for name in re.findall(r'href="#([^"]*)"', text):
        assert f'id="{name}"' in text


def test_nothing_of_other_settings_is_left_beside_the_page(affect, tmp_path, monkeypatch):
    few = [entry for entry in catalogue(affect) if entry[1].func.__name__ == "scores"]
    monkeypatch.setattr("bayesaffect.report.page.catalogue", lambda findings: few)
    sheet = pd.DataFrame({"a": [1]})
    page = write_report(replace(affect, sheets={"scalp": sheet}), tmp_path)
    mine = page.parent / "figures" / "mine.png"
    mine.write_bytes(b"a reader's own")
    assert (tmp_path / "tables" / "scalp.tex").is_file() and (tmp_path / "figures" / "scores.svg").is_file()
    monkeypatch.setattr("bayesaffect.report.page.catalogue", lambda findings: [])
    write_report(affect, tmp_path)
    assert not list(tmp_path.rglob("scalp.*")) and not list((tmp_path / "figures").glob("scores.*"))
    assert mine.is_file() and (tmp_path / "tables" / "scores.csv").is_file()
