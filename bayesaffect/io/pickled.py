"""Pickles of arrays, opened without running what else a pickle may hold.

A pickle is a program. This reader puts harmless stand-ins in the place of the few constructors that arrays of numbers
need, and refuses every other name before it is called, so that a file from somewhere else cannot do anything.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bayesaffect.errors import InputError
from bayesaffect.io.edf import UNREADABLE


class _Refused(pickle.UnpicklingError):
    """A name that no array of numbers needs."""


class _Kind:
    """Stands for numpy.dtype: plain numbers only."""

    def __init__(self, text: str, *flags):
        if not isinstance(text, str) or not re.fullmatch(r"[<>|=]?[fiu][1248]", text):
            raise _Refused(f"the type {text!r}")
        self.text = text.lstrip("<>|=")
        self.order = text[0] if text[0] in "<>" else "<"

    def __setstate__(self, state: tuple):
        if state[1] in ("<", ">"):
            self.order = state[1]

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.order + self.text)


class _Array:
    """Stands for numpy.ndarray; its numbers come from the state that the pickle sets."""

    values: np.ndarray | None = None

    def __setstate__(self, state: tuple):
        _, shape, kind, fortran, raw = state
        self.values = _filled(raw, kind, shape, "F" if fortran else "C")


def _filled(raw: bytes | str, kind: _Kind, shape: tuple[int, ...], order: str) -> np.ndarray:
    if isinstance(raw, str):  # bytes as Python 2 wrote them
        raw = raw.encode("latin1")
    values = np.frombuffer(raw, kind.dtype)
    if values.size != math.prod(shape):
        raise ValueError(f"{values.size} numbers for an array of shape {shape}")
    return values.reshape(shape, order=order)


def _reconstruct(*arguments) -> _Array:
    return _Array()


def _frombuffer(raw, kind: _Kind, shape: tuple[int, ...], order: str = "C") -> _Array:
    array = _Array()
    array.values = _filled(bytes(raw), kind, shape, order)
    return array


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if encoding not in ("latin1", "latin-1"):
        raise _Refused(f"the codec {encoding!r}")
    return text.encode("latin1")


_STAND_INS = {
    ("numpy", "ndarray"): None,  # only ever an argument
    ("numpy", "dtype"): _Kind,
    ("_codecs", "encode"): _encode,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (module, name) not in _STAND_INS:
            raise _Refused(f"the name {module}.{name}")
        return _STAND_INS[module, name]


def load_arrays(path: Path, *, remedy: str) -> dict[str, np.ndarray]:
    """The arrays of numbers in a pickled dict, by name.

    Raises
    ------
    InputError : the file cannot be read, or holds anything but a dict of arrays of numbers.
    """
    try:
        with open(path, "rb") as stream:
            found = _Reader(stream, encoding="latin1").load()
    except _Refused as error:
        what = f"is no pickle of plain arrays: {error} is not admitted"
        raise InputError(what, where=path, remedy=remedy) from None
    except (*UNREADABLE, pickle.UnpicklingError, AttributeError, ImportError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"is no readable pickle ({reason[:200]})", where=path, remedy=remedy) from None
    parts = found if isinstance(found, Mapping) else {}
    arrays = {str(name): value.values for name, value in parts.items() if isinstance(value, _Array)}
    if not arrays or len(arrays) < len(parts) or any(values is None for values in arrays.values()):
        raise InputError("is no pickle of named arrays of numbers", where=path, remedy=remedy)
    return arrays
