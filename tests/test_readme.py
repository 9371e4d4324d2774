"""The README's commands are run, in the order in which they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

README = Path(__file__).parents[1] / "README.md"


def blocks(tested: bool):
    text = README.read_text(encoding="utf-8")
    found = re.findall(r"(<!-- tested -->\n)?```sh\n(.*?)```", text, flags=re.DOTALL)
    return [block for mark, block in found if bool(mark) == tested]


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_its_commands_run(tmp_path):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for block in blocks(tested=True):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=tmp_path,
            env=os.environ | {"PATH": path},
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "workspace" / "report" / "index.html").is_file()
    assert (tmp_path / "workspace_table" / "report" / "scores.csv").is_file()


def test_every_verb_it_names_exists():
    verbs = set(re.findall(r"bayesaffect ([a-z]+)", "".join(blocks(tested=True) + blocks(tested=False))))
    parts = sorted((README.parent / "bayesaffect" / "cli").glob("*.py"))
    cli = "".join(path.read_text(encoding="utf-8") for path in parts)
    assert verbs and all(f"def {verb}(" in cli or f'name="{verb}"' in cli for verb in verbs)


def test_its_make_targets_exist():
    makefile = (README.parent / "Makefile").read_text(encoding="utf-8")
    assert all(
        re.search(rf"^{name}:", makefile, re.MULTILINE) for name in re.findall(r"make (\w+)", README.read_text())
    )


def test_what_it_links_to_is_there():
    text = README.read_text(encoding="utf-8")
    places = [place for place in re.findall(r"\]\(([^)#]+)\)", text) if not place.startswith("http")]
    made = {place for place in places if not (README.parent / place).parent.is_dir()}
    assert len(set(places) - made) >= 5
    assert [place for place in places if place not in made and not (README.parent / place).exists()] == []
    assert {place.split("/")[0] for place in made} <= {"reports"}  # written by a study, see reports/README.md


def test_it_names_the_tours_and_the_new_verbs():
    text = README.read_text(encoding="utf-8")
    tours = sorted((README.parent / "scripts" / "tour").glob("*.py"))
    assert len(tours) == 4 and all(f"scripts/tour/{tour.name}" in text for tour in tours)
    for command in ("report --compare", "--markdown", "release", "models", "predict --model", "--protocol"):
        assert command in text


def test_the_environment_installs_the_version_that_is_tested():
    wanted = re.search(r"TORCH := (torch==\S+)", (README.parent / "Makefile").read_text()).group(1)
    environment = (README.parent / "environment.yml").read_text()
    assert f"- {wanted}" in environment and "constraints.txt" in environment and "jupytext" in environment


def test_its_results_are_those_of_the_reports():
    """What the README says of real data is in the committed scores, to the last digit."""
    text = README.read_text(encoding="utf-8").replace("**", "")

    def told(study, model, target, score):
        table = pd.read_csv(README.parent / "reports" / study / "scores.csv").set_index(["model", "target", "score"])
        row = table.loc[(model, target, score)]
        value, low, high = (f"{row[c]:.3f}".removeprefix("0") for c in ("value", "low", "high"))
        return f"{value} [{low}, {high}]"

    late = [("late", "stress", score) for score in ("nll", "accuracy", "ece")]
    rivals = [(model, "stress", "nll") for model in ("electrodermal", "equal", "early", "order")]
    wanted = [told("stress_predict", *name) for name in late + rivals]
    late = [("late", "emotion", score) for score in ("nll", "accuracy", "ece")]
    rivals = [(model, "emotion", "nll") for model in ("face", "equal", "stacking")]
    wanted += [told("crema_d", *name) for name in late + rivals]
    wanted += [told("epic2023", "late", target, "rmse_within") for target in ("valence", "arousal")]
    wanted += [
        told("epic2023", model, target, "nll") for model in ("late", "CARElab") for target in ("valence", "arousal")
    ]
    assert [numbers for numbers in wanted if numbers not in text] == []
