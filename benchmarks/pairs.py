"""Two ways of doing the same work, timed in turns on this machine, and whether a goal for their ratio holds."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """One comparison: median seconds of both, the ratio that the goal is about, and whether it holds."""

    name: str
    ours_s: float
    other_s: float
    ratio: float
    goal: str
    holds: bool
    note: str = ""


def faster(name: str, ours: Callable, other: Callable, *, least: float, repeats: int, note: str = "") -> Row:
    """``other`` should take at least ``least`` times as long as ``ours``; ratio = median of other / ours per turn."""
    pairs = _turns(ours, other, repeats)
    ratio = statistics.median(b / a for a, b in pairs)
    return _row(name, pairs, ratio, f">= {least:g} x", ratio >= least, note)


def costs(name: str, ours: Callable, other: Callable, *, most: float, repeats: int, note: str = "") -> Row:
    """``ours`` should take at most ``most`` times as long as ``other``; ratio = median of ours / other per turn."""
    pairs = _turns(ours, other, repeats)
    ratio = statistics.median(a / b for a, b in pairs)
    return _row(name, pairs, ratio, f"<= {most:g} x", ratio <= most, note)


def fact(name: str, value: float, *, goal: str, holds: bool, note: str = "") -> Row:
    """A measurement that is no ratio of times, such as a share or an error."""
    return Row(name, float("nan"), float("nan"), value, goal, holds, note)


def main(parts: dict[str, Callable[[int], Iterable[Row]]], description: str) -> int:
    """Run the chosen parts, print a line per comparison; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(parts)} [default: all]")
    parser.add_argument("--repeats", type=int, default=5, help="turns per comparison [default: 5]")
    parser.add_argument("--json", type=Path, help="also write the records to this file")
    arguments = parser.parse_args()
    if wrong := set(arguments.parts) - set(parts):
        parser.error(f"there is no part {sorted(wrong)[0]!r}")
    print(f"{'comparison':58s} {'ours s':>9s} {'other s':>9s} {'ratio':>9s}  goal")
    rows = []
    for part in arguments.parts or parts:
        for row in parts[part](arguments.repeats):
            rows.append(row)
            verdict = "holds" if row.holds else "MISSED"
            ours, other, ratio = (f"{v:9.4g}" for v in row[1:4])
            print(f"{row.name:58s} {ours} {other} {ratio}  {row.goal}: {verdict}  {row.note}".rstrip(), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps([row._asdict() for row in rows], indent=2) + "\n", encoding="utf-8")
    return int(not all(row.holds for row in rows))


def _turns(ours: Callable, other: Callable, repeats: int) -> list[tuple[float, float]]:
    ours(), other()  # caches, compilers and files are warm in every turn that counts
    return [(_seconds(ours), _seconds(other)) for _ in range(repeats)]


def _seconds(work: Callable) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _row(name: str, pairs: list[tuple[float, float]], ratio: float, goal: str, holds: bool, note: str) -> Row:
    ours, other = (statistics.median(side) for side in zip(*pairs, strict=True))
    return Row(name, ours, other, ratio, goal, holds, note)
