import errno
import os
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

from bayesaffect.cli import main
from bayesaffect.pipeline import settings as study_settings
from bayesaffect.pipeline.settings import Settings

SCRIPTS = Path(__file__).parents[2] / "scripts"
VERBS = [
    "simulate",
    "describe",
    "prepare",
    "export",
    "train",
    "fuse",
    "weights",
    "predict",
    "adapt",
    "compare",
    "criticise",
    "report",
    "study",
    "demo",
    "opinions",
]


def run(capsys, *arguments):
    """Exit code and what was printed to standard output and standard error."""
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    printed = capsys.readouterr()
    return end.value.code or 0, printed.out, printed.err


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(capsys, verb):
    code, out, _ = run(capsys, verb, "--help")
    assert code == 0 and "Usage: bayesaffect" in out


def test_a_day_begins_without_news_of_other_packages(tmp_path):
    """ArviZ 0.23 warns once a day, remembered in the cache folder of the user."""
    command = [sys.executable, "-c", "from bayesaffect.cli import main; main()", "weights", str(tmp_path)]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "MPLCONFIGDIR": matplotlib.get_cachedir()}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2 and done.stderr.startswith(f"bayesaffect: {tmp_path}: is not a workspace"), done


@pytest.mark.parametrize("script", sorted(p.name for p in SCRIPTS.glob("*.py")))
def test_scripts_are_the_same_verbs(script):
    done = subprocess.run([sys.executable, SCRIPTS / script, "--help"], capture_output=True, text=True, check=True)
    assert "Usage: bayesaffect" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("train", "{tmp}"), "is not a workspace; run `bayesaffect prepare DATASET WORKSPACE` first"),
        (("weights", "{tmp}"), "is not a workspace"),
        (("report", "{tmp}/none"), "is not a workspace"),
        (
            ("study", "{tmp}", "{tmp}/ws", "--format", "betamax"),
            "there is no format 'betamax'; choose one of mahnob, deap, e4, description",
        ),
        (("prepare", "{tmp}", "{tmp}/ws", "--baseline", "moon"), "there is no baseline 'moon'; choose one of trials"),
        (("study", "{tmp}", "{tmp}/ws"), "Sessions"),
        (("study", __file__, "{tmp}/ws"), "is a file, not a folder"),
        (("study", "{tmp}/none", "{tmp}/ws", "--format", "e4"), "Raw_data"),
        (("fuse", "{tmp}/none.csv", "{tmp}/ws"), "none.csv"),
        (("opinions", "crema-d", "{tmp}", "{tmp}/out.csv"), "tabulatedVotes.csv"),
    ],
)
def test_a_mistake_is_one_sentence_and_code_2_and_nothing_is_made(capsys, tmp_path, arguments, sentence):
    code, _, err = run(capsys, *(a.format(tmp=tmp_path) for a in arguments))
    assert code == 2 and sentence in err
    assert err.startswith("bayesaffect: ") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["simulate", "study", "train", "fuse", "demo"])
def test_a_seed_is_not_negative(capsys, tmp_path, verb):
    """NumPy's generators take no other; it would be noticed after minutes."""
    code, _, err = run(
        capsys, verb, tmp_path / "a", *([tmp_path / "b"] if verb in ("study", "fuse") else []), "--seed=-1"
    )
    assert code == 2 and "Invalid value for '--seed'" in err and list(tmp_path.iterdir()) == []


WRONG_PLACES = [
    (("report", "{ws}", "--markdown", "{file}"), "is a file; name a folder"),
    (("report", "{ws}", "{tmp}/other", "--compare", "--out", "{file}/deeper"), "is a file; name a folder"),
    (("release", "{ws}", "mine", "--models", "{file}"), "is a file; name a folder"),
    (("predict", "{ws}", "{file}", "{file}"), "is a file; name a folder"),
    (("report", "{ws}", "--out", "{tmp}/out"), "--out is the folder of a comparison; add --compare"),
    (("report", "{ws}", "{tmp}/other", "--compare", "--markdown", "{tmp}/md"), "no summary in Markdown"),
    (("fuse", "{ws}", "--seed", "0"), "folds, protocol, seed and rating scales of a workspace are those"),
    (("simulate", "{file}"), "is a file; name a folder"),
    (("demo", "{file}"), "is a file; name a folder"),
    (("fuse", "{ws}", "--bounds", "valence=1:5"), "folds, protocol, seed and rating scales of a workspace are those"),
]


@pytest.mark.parametrize(("arguments", "sentence"), WRONG_PLACES)
def test_a_file_where_a_folder_goes_and_an_option_without_effect_are_refused_first(
    capsys, tmp_path, arguments, sentence
):
    """Before anything long begins: the stages behind are not reached."""
    workspace, file = tmp_path / "ws", tmp_path / "notes.txt"
    study_settings.save(Settings("table.csv", "opinions"), workspace)
    file.write_text("mine")
    code, _, err = run(capsys, *(a.format(ws=workspace, tmp=tmp_path, file=file) for a in arguments))
    assert code == 2 and sentence in err and err.count("\n") == 1
    assert file.read_text() == "mine" and {p.name for p in tmp_path.iterdir()} == {"ws", "notes.txt"}


REFUSED = [
    (OSError(errno.ENOSPC, "No space left on device"), "new.toml: no space left on device; free some space, then"),
    (OSError(errno.EROFS, "Read-only file system", "/else"), "/else: read-only file system; name a place"),
    (PermissionError(errno.EACCES, "Permission denied"), "new.toml: permission denied; get the right to it"),
    (OSError("433152 requested and 385024 written"), "no space left on device; free some space"),  # NumPy says no more
    (RuntimeError("file write failed: errno = 28, error message = 'No space left on device'"), "no space left"),  # HDF5
]


@pytest.mark.parametrize(("error", "sentence"), REFUSED)
def test_a_full_or_closed_disk_is_one_sentence_and_leaves_nothing(capsys, tmp_path, monkeypatch, error, sentence):
    def refuse(self, *arguments, **options):
        raise error

    monkeypatch.setattr(Path, "write_text", refuse)
    code, _, err = run(capsys, "describe", tmp_path / "new.toml")
    assert code == 2 and sentence in err and err.count("\n") == 1 and err.endswith("give the same command again\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [RuntimeError("a defect"), FileNotFoundError(errno.ENOENT, "No such file"), OSError()]
)
def test_a_defect_of_the_program_is_not_taken_for_a_full_disk(tmp_path, monkeypatch, error):
    def fail(self, *arguments, **options):
        raise error

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(type(error)):
        main(["describe", str(tmp_path / "new.toml")])
