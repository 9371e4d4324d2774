"""Damaged files of every kind end in a result, a listed omission or one sentence.

``BAYESAFFECT_FUZZ=2000`` tries so many cases of every kind.
"""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("fuzz_worker.py")
COUNT = int(os.environ.get("BAYESAFFECT_FUZZ", "25"))
BOUND_GIB = 1.5


def bounded():
    resource.setrlimit(resource.RLIMIT_AS, (12 * 2**30, 12 * 2**30))


@pytest.mark.slow
@pytest.mark.timeout(max(900, 10 * COUNT))
@pytest.mark.parametrize("kind", ["bdf", "avi", "xml", "e4", "openface", "toml"])
def test_damage_is_a_result_an_omission_or_a_sentence(kind, tmp_path):
    command = [sys.executable, WORKER, kind, str(COUNT), "0", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=bounded)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert done.returncode == 0, (lines[-1:], done.stderr[-2000:])
    ended = [line for line in lines if "outcome" in line]
    strange = [line for line in ended if line["outcome"] not in ("result", "omission", "sentence")]
    assert not strange, strange[0]["outcome"]
    assert len(ended) == COUNT and max(line["peak_gib"] for line in ended) < BOUND_GIB
    assert any(line["outcome"] != "result" for line in ended)  # damage is noticed
