from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from bayesaffect.report import measure
from bayesaffect.report.people import cards


@pytest.fixture(scope="module")
def html(affect):
    return cards(affect)


def card(html: str, person: str) -> str:
    return next(c for c in html.split('<article class="card">')[1:] if c.startswith(f"<h3>{person} "))


def test_there_is_one_card_per_subject_in_the_order_people_count(html, affect):
    names = re.findall(r"<article class=\"card\"><h3>(\S+) ", html)
    assert names == [str(s) for s in affect.data.index]


def test_a_card_counts_what_the_intervals_hold(html, affect):
    r = measure.ratings(affect, "late", "valence")
    mine = r.subject == "S03"
    inside = np.abs(measure.pit(r)[mine] - 0.5) <= 0.45
    error = affect.target("valence").half_range * np.sqrt(np.mean((r.mean.mean(0)[mine] - r.truth[mine]) ** 2))
    assert f"{inside.sum()} of {mine.sum()} inside, RMSE {error:.2f}" in card(html, "S03")
    assert len(re.findall(r'<g class="(?:hit|miss)">', card(html, "S03").split("arousal")[0])) == mine.sum()


def test_a_card_counts_what_was_right(html, affect):
    c = measure.classes(affect, "late", "emotion")
    mine = c.subject == "S03"
    right = (c.prob[mine].argmax(1) == c.label[mine]).sum()
    text = card(html, "S03")
    assert f"{right} of {mine.sum()} right" in text and text.count('<rect class="right"') == right


def test_weights_of_a_modality_that_a_person_lacks_are_left_out(html):
    assert "eeg" in card(html, "S01").split("weights for valence")[1].split(">")[0]
    assert "eeg" not in card(html, "S08").split("weights for valence")[1].split(">")[0]


def test_hundreds_of_trials_are_thinned_but_all_are_counted(affect):
    r = measure.ratings(affect, "late", "valence")
    many = np.tile(np.arange(r.truth.size), 20)
    long = measure.Ratings(r.mean[:, many], r.variance[:, many], r.truth[many], r.subject[many], r.trial[many])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "ratings", lambda findings, model, target: long)
        html = cards(replace(affect, targets=affect.targets[:1]))
    assert "of 200 inside" in card(html, "S01") and card(html, "S01").count("<circle") == 120


class Balanced(HTMLParser):
    VOID = frozenset(("meta", "br", "img", "input"))

    def __init__(self):
        super().__init__()
        self.open, self.wrong = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_tags_are_balanced_and_names_are_escaped(affect):
    renamed = affect.data.rename(index={"S01": "<b>S01"})
    parser = Balanced()
    text = cards(replace(affect, data=renamed))
    parser.feed(text.replace("/>", "></path>").replace("<circle", "<path").replace("<rect", "<path"))
    assert not parser.wrong and not parser.open and "<b>S01" not in text


def test_nothing_to_tell_is_no_card(affect):
    truth = affect.truth.assign(
        {t.name: affect.truth[t.name] * 0 - 1 if t.levels else affect.truth[t.name] * np.nan for t in affect.targets}
    )
    assert cards(replace(affect, truth=truth)) == ""
