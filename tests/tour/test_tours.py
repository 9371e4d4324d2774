"""The four tours run from top to bottom, each alone, and teach what they say they teach."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOURS = sorted((ROOT / "scripts" / "tour").glob("*.py"))
NAMES = {
    "preprocess_eeg",
    "extract_spectral_features",
    "extract_connectivity_features",
    "detect_facial_landmarks",
    "extract_action_units",
    "compute_hrv",
    "extract_scr_features",
    "early_fusion",
    "late_fusion",
    "hybrid_fusion",
}
FIGURES = {
    "1": {"1_signals.png", "1_face.png", "1_answers.png"},
    "2": {f"2_{name}.png" for name in ("cleaning", "topography", "connectivity", "face", "quality")},
    "3": {"3_learning.png", "3_predictions.png"},
    "4": {"4_forest.png", "weights_valence.png"},
}


def run(tour: Path, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(tour), str(folder)], cwd=folder.parent, capture_output=True, text=True, timeout=1500
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def cells(tour: Path) -> list[str]:
    return [part for part in re.split(r"^(?=# %%)", tour.read_text(encoding="utf-8"), flags=re.MULTILINE) if part]


def assignments(tour: Path, names: set[str]) -> dict[str, str]:
    """The first value that each of the names is given."""
    found = {}
    for node in ast.parse(tour.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, ast.unparse(node.value))
    return {name: value for name, value in found.items() if name in names}


def test_there_is_one_per_notebook_of_the_tutorial():
    assert [tour.name for tour in TOURS] == [
        "1_data_acquisition.py",
        "2_feature_extraction.py",
        "3_single_modality_models.py",
        "4_fusion_ensemble.py",
    ]


@pytest.mark.parametrize("tour", TOURS, ids=lambda tour: tour.stem)
def test_it_opens_as_a_notebook_that_explains_itself(tour):
    kinds = [cell.splitlines()[0] for cell in cells(tour)]
    assert set(kinds) == {"# %%", "# %% [markdown]"} and kinds[0] == "# %% [markdown]"
    assert kinds.count("# %% [markdown]") >= kinds.count("# %%") / 2
    for cell in cells(tour):
        lines = cell.splitlines()[1:]
        if cell.startswith("# %% [markdown]"):
            assert all(not line or line.startswith("#") for line in lines)
        else:
            assert any(line and not line.startswith("#") for line in lines)


def test_every_name_that_people_look_for_is_taken_from_the_package_and_used():
    homes, used = {}, set()
    for tour in TOURS:
        tree = ast.parse(tour.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("bayesaffect"):
                homes |= {alias.name: node.module for alias in node.names}
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                used.add(node.func.id)
    assert used >= NAMES
    for name in NAMES:
        assert callable(getattr(importlib.import_module(homes[name]), name))


def test_all_speak_of_the_same_study():
    shared = [assignments(tour, {"folder", "layout", "study"}) for tour in TOURS]
    assert shared[1] == shared[2] == shared[3]
    assert {name: shared[1][name] for name in shared[0]} == shared[0]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What each tour printed. The third comes first, in an empty folder; the others find what it made."""
    folder = tmp_path_factory.mktemp("tours")
    return folder / "tour", {TOURS[k].name[0]: run(TOURS[k], folder / "tour") for k in (2, 3, 0, 1)}


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_they_run_in_any_order_and_show_what_they_promise(told):
    folder, texts = told
    assert {path.name for path in (folder / "figures").glob("*.png")} >= set().union(*FIGURES.values())
    assert "34 sessions of 6 people" in texts["1"] and "the colour video is missing" in texts["1"]
    assert "repaired channels: ('" in texts["2"] and "it takes" in texts["2"]
    assert (folder / "features" / "physio.csv").is_file()
    assert "24 trainings, 0 done" in texts["3"]
    assert "refused: " in texts["3"] and "trained on" in texts["3"]


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_last_one_says_what_it_promises(told):
    _, texts = told
    text = texts["4"]
    assert "elpd_loo" in text and "r_hat" in text
    assert "k-hat" in text and "refused, as it should be" in text
    spread = [float(s) for s in re.findall(r"^.*: \d\.\d\d \+- (\d\.\d\d)$", text, flags=re.MULTILINE)]
    assert len(spread) == 4 and spread[0] == min(spread) and spread[-1] == max(spread)
    assert re.search(r"late - equal: -?\d\.\d{3} nats per trial \[-?\d\.\d{3}, -?\d\.\d{3}\] \(negative", text)
