"""A known truth, written as real files (`write_mahnob`, `write_tutorial`) or as opinions (`simulate_opinions`).

Names are loaded on first use, so that importing the package stays light.
"""

from __future__ import annotations

import importlib

_HOME = {
    "Layout": "recordings",
    "write_mahnob": "recordings",
    "write_tutorial": "tutorial",
    "Truth": "truth",
    "draw_truth": "truth",
    "read_truth": "truth",
    "OpinionModel": "opinions",
    "simulate_opinions": "opinions",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
