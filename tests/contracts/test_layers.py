"""The hourglass: which part may import which, and through which door a heavy dependency comes in."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "bayesaffect"
WAIST = {"errors", "files", "progress", "types"}
# part -> parts it may import besides itself and the waist
ALLOWED = {
    **{name: {"errors"} for name in WAIST},
    "splits": set(),
    "simulate": set(),
    "io": set(),
    "signals": set(),
    "encoders": set(),
    "uncertainty": set(),
    "fusion": set(),
    "evaluate": set(),
    "report": {"evaluate"},
    "pipeline": {"splits", "simulate", "io", "signals", "encoders", "uncertainty", "fusion", "evaluate", "report"},
    "__main__": {"cli"},
    "cli": {"pipeline", "simulate", "io", "signals", "splits", "report"},
}
DOORS = {
    "mne": {"io", "signals", "report"},  # report: topomaps only
    "edfio": {"simulate"},
    "neurokit2": {"signals"},
    "cv2": {"io", "signals", "simulate"},
    "av": {"signals"},
    "feat": {"signals"},
    "torch": {"encoders", "uncertainty", "fusion"},
    "pyro": {"fusion"},
    "nutpie": {"fusion"},
    "arviz": {"fusion", "evaluate", "report", "pipeline"},
    "matplotlib": {"report"},
    "typer": {"cli"},
}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        part = relative.parts[0].removesuffix(".py")
        if part != "__init__":
            yield pytest.param(part, path, id=str(relative))


def imported(source: str):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [alias.name for alias in node.names]
            yield from (f"{node.module}.{name}" for name in names)


def violations(part: str, source: str) -> list[str]:
    found = []
    for name in imported(source):
        head, *rest = name.split(".")
        if head == "bayesaffect" and rest:
            if rest[0] not in ALLOWED:
                continue  # an attribute of the package itself, such as __version__
            legal = ALLOWED[part] | {part} | (set() if part in WAIST else WAIST)
            if rest[0] not in legal:
                found.append(f"{part} imports {name}")
        elif head in DOORS and part not in DOORS[head]:
            found.append(f"{part} imports {name}, whose door is {sorted(DOORS[head])}")
    return found


@pytest.mark.parametrize(("part", "path"), list(modules()))
def test_imports_point_one_way(part, path):
    assert violations(part, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("fusion", "from bayesaffect.uncertainty import crossfit"),
        ("types", "import bayesaffect.io.store"),
        ("evaluate", "import torch.nn"),
        ("report", "from pyro import sample"),
    ],
)
def test_a_planted_violation_is_found(part, source):
    assert violations(part, source)


def test_help_needs_no_heavy_import():
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (PACKAGE / "cli").glob("*.py")]
    top = {
        name.split(".")[0]
        for tree in trees
        for node in tree.body
        for name in imported(ast.unparse(node))
        if isinstance(node, (ast.Import, ast.ImportFrom))
    }
    assert not top & (set(DOORS) - {"typer"} | {"xarray", "pandas", "sklearn"})


def test_the_names_that_users_look_for_are_at_the_top_and_cost_nothing_until_asked_for():
    heavy = "{'torch', 'mne', 'pyro', 'xarray', 'numpy'} & set(sys.modules)"
    names = (
        "preprocess_eeg extract_spectral_features extract_connectivity_features detect_facial_landmarks "
        "extract_action_units compute_hrv extract_scr_features early_fusion late_fusion hybrid_fusion"
    )
    code = (
        f"import sys, bayesaffect; assert not {heavy}; assert not hasattr(bayesaffect, 'no_such_name'); "
        f"[print(n, callable(getattr(bayesaffect, n)) and n in dir(bayesaffect)) for n in '{names}'.split()]"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert run.returncode == 0, run.stderr
    assert [line for line in run.stdout.splitlines() if line] == [f"{name} True" for name in names.split()]


def test_every_folder_of_the_package_says_what_it_is_for():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    lacking = [f for f in folders if not (f / "__init__.py").is_file()]
    assert lacking == []
    assert [f for f in folders if not ast.get_docstring(ast.parse((f / "__init__.py").read_text("utf-8")))] == []
