"""Which device networks are trained on, asked for by name and refused in one sentence if it is not there."""

from __future__ import annotations

import torch

from bayesaffect.errors import InputError

DEVICES = ("cpu", "cuda", "mps", "auto")


def resolve(name: str) -> str:
    """The torch device of ``name``: ``cpu``, ``cuda``, ``mps``, or ``auto`` for the first GPU that is there.

    Raises
    ------
    InputError : for another name, or a GPU that torch does not see.
    """
    if name not in DEVICES:
        raise InputError(f"there is no device {name!r}", remedy=f"choose one of {', '.join(DEVICES)}")
    seen = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(found for found in ("cuda", "mps", "cpu") if seen[found])
    if not seen[name]:
        raise InputError(
            f"torch {torch.__version__} sees no {name} device here",
            remedy="use --device cpu or auto, or install a torch that was built for your GPU",
        )
    return name
