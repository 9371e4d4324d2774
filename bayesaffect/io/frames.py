"""Tables on disk, CSV or Parquet: read as text with the row each value stands in, written whole or not at all."""

from __future__ import annotations

import csv
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from bayesaffect.errors import InputError, first_line
from bayesaffect.files import atomic

KEYS = ("trial", "subject", "modality")
MARKS = {"semicolons": ";", "tabs": "\t"}
COMMAS = "save it with commas between columns and points in numbers, or as .parquet"
NAMES = (*KEYS, "stimulus", "version", "truth")


def read_frame(path: Path) -> pd.DataFrame:
    """The table as text (numbers of a Parquet file stay numbers); the index is the row in the file, header = 1."""
    if path.is_dir():
        raise InputError("is a folder, not a table", where=path, remedy="name a CSV or Parquet file")
    if not path.is_file():
        raise InputError("there is no such file", where=path, remedy="check the path")
    remedy = "save it as comma-separated UTF-8 text, or as .parquet"
    if path.suffix.lower() in (".parquet", ".pq"):
        try:
            frame = pd.read_parquet(path)
        except ImportError:
            raise InputError(
                "reading Parquet needs the package pyarrow", where=path, remedy="pip install pyarrow, or save it as CSV"
            ) from None
        except (OSError, ValueError) as error:
            raise InputError(f"is not a Parquet file ({first_line(error)})", where=path, remedy=remedy) from None
        for column in frame.columns:
            if not pd.api.types.is_numeric_dtype(frame[column]) or column in NAMES:
                frame[column] = frame[column].astype(object).where(frame[column].notna(), "").astype(str)
        frame.index = np.arange(2, len(frame) + 2)
    else:
        try:
            with open(path, newline="", encoding="utf-8-sig") as stream:
                header = next(csv.reader(stream), [])
            if other := next((name for name, mark in MARKS.items() if len(header) == 1 and mark in header[0]), None):
                raise InputError(f"has {other} between its columns, not commas", where=path, remedy=COMMAS)
            twice = sorted({c for c in header if header.count(c) > 1})
            if twice:
                raise InputError(f"has two columns {twice[0]!r}", where=path, remedy="remove one")
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)
                frame = pd.read_csv(
                    path,
                    dtype=str,
                    keep_default_na=False,
                    index_col=False,
                    skip_blank_lines=False,
                    encoding="utf-8-sig",
                )
        except pd.errors.EmptyDataError:
            raise InputError("is empty", where=path, remedy="one row per trial and modality below a header") from None
        except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.ParserWarning, csv.Error) as error:
            reason = "bytes that are not text" if isinstance(error, UnicodeDecodeError) else first_line(error)
            raise InputError(f"is not a CSV table ({reason})", where=path, remedy=remedy) from None
        frame.columns = [c.strip() for c in frame.columns]
        frame = frame.fillna("")
        frame.index = np.arange(2, len(frame) + 2)
        frame = frame[(frame != "").any(axis=1)]
    if frame.empty:
        raise InputError("has no rows", where=path, remedy="one row per trial and modality below the header")
    return frame


def write_frame(frame: pd.DataFrame, path: str | os.PathLike) -> Path:
    """Write a table as CSV, or as Parquet where the name ends so; numbers keep all their digits."""
    with atomic(path) as temporary:
        if temporary.suffix.lower() in (".parquet", ".pq"):
            try:
                frame.to_parquet(temporary, index=False)
            except ImportError:
                raise InputError(
                    "writing Parquet needs the package pyarrow",
                    where=path,
                    remedy="pip install pyarrow, or write CSV",
                ) from None
        else:
            frame.to_csv(temporary, index=False, lineterminator="\n", encoding="utf-8")
    return Path(path)
