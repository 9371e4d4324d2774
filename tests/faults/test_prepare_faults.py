"""A data set with one of each common defect: the rest is used, and each defect is one listed sentence."""

import csv

import pytest

from bayesaffect.cli import main
from bayesaffect.simulate import Layout, write_mahnob


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    root = tmp_path_factory.mktemp("faults")
    layout = Layout(clip_seconds=(6.0, 7.0), margin=2.0, video_rate=8.02, traps=False)
    write_mahnob(root / "data", subjects=3, clips=4, seed=1, layout=layout)
    sessions = sorted((root / "data" / "Sessions").iterdir(), key=lambda p: int(p.name))
    (sessions[0] / "session.xml").unlink()
    bdf = next(sessions[1].glob("*.bdf"))
    bdf.write_bytes(bdf.read_bytes()[: bdf.stat().st_size // 2])
    next(sessions[2].glob("*.avi")).write_bytes(b"this is no film")
    xml = sessions[3] / "session.xml"
    text = xml.read_text(encoding="utf-8")
    xml.write_text(text.replace('feltVlnc="', 'feltVlnc="4'), encoding="utf-8")
    for session in sessions[8:]:
        next(session.glob("*.avi")).unlink()
    with pytest.raises(SystemExit) as end:
        main(["prepare", str(root / "data"), str(root / "ws"), "--window", "5", "--jobs", "1"])
    with open(root / "ws" / "prepared" / "omissions.csv", newline="", encoding="utf-8") as stream:
        return end.value.code or 0, sessions, list(csv.DictReader(stream)), root


@pytest.mark.parametrize(
    ("session", "what"),
    [(0, "session.xml"), (1, "shorter|cut|truncated|size|length"), (2, "video"), (3, "4[1-9]|outside"), (8, "video")],
)
def test_each_defect_is_listed_with_its_file_and_a_remedy(prepared, session, what):
    import re

    code, sessions, omissions, _ = prepared
    named = [o for o in omissions if f"/{sessions[session].name}" in o["where"]]
    assert code == 0 and named
    assert any(re.search(what, o["what"] + o["where"]) and o["remedy"] for o in named)


def test_the_rest_is_used(prepared):
    from bayesaffect.io import store

    root = prepared[3]
    trials = [store.load_trials(path) for path in sorted((root / "ws" / "prepared").glob("*.nc"))]
    assert len(trials) >= 9
    assert sum("face" in t.modalities for t in trials) == len(trials) - 5


def test_a_folder_of_something_else_is_refused_with_the_way_to_the_data(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["study", str(tmp_path), str(tmp_path / "ws")])
    err = capsys.readouterr().err
    assert end.value.code == 2 and "licence" in err and not (tmp_path / "ws").exists()


def test_a_modality_that_nobody_has_is_listed_too(tmp_path):
    layout = Layout(clip_seconds=(6.0, 7.0), margin=2.0, video_rate=8.02, traps=False)
    write_mahnob(tmp_path / "data", subjects=2, clips=2, seed=1, layout=layout)
    for film in (tmp_path / "data").rglob("*.avi"):
        film.unlink()
    with pytest.raises(SystemExit) as end:
        main(["prepare", str(tmp_path / "data"), str(tmp_path / "ws"), "--window", "5", "--jobs", "1"])
    listed = (tmp_path / "ws" / "prepared" / "omissions.csv").read_text(encoding="utf-8")
    assert not end.value.code and "modality 'face' is in none of the recordings" in listed
