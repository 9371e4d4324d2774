"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data():
    """``real_data("face")``: that folder of the real recordings, or a skip that says what is missing."""
    root = Path(os.environ.get("BAYESAFFECT_DATA", Path(__file__).parents[2] / "shared" / "data"))

    def folder(name: str) -> Path:
        path = root / name
        if not path.is_dir():
            pytest.skip(
                f"the real recordings {name!r} are not here; set BAYESAFFECT_DATA to the folder that holds them"
            )
        return path

    return folder
