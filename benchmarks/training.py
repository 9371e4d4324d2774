"""The training loop against a bare one, two processes against one, memory, and torch-uncertainty's ensembles:
``python benchmarks/training.py [PART ...]``."""

from __future__ import annotations

import sys

import pairs
import training_loop
import training_peer
import training_processes

PARTS = {
    "loop": training_loop.rows,
    "processes": training_processes.rows,
    "memory": training_processes.memory,
    "peer": training_peer.rows,
}

if __name__ == "__main__":
    sys.exit(pairs.main(PARTS, __doc__))
