"""Fixtures shared by all tests."""

import os
import time
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


@pytest.fixture
def slowness():
    """``slowness()``: how many times slower than usual this processor is at the moment, 1 if it is not.

    Limits of time were set where ten million additions take 0.6 s; beside busy neighbours they have taken 1.6 s.
    """

    def measured() -> float:
        start, total = time.process_time(), 0
        for k in range(2_000_000):
            total += k
        return max(1.0, (time.process_time() - start) / 0.12)

    return measured
