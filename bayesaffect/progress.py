"""Progress bars with time left: silent in a library or a test, visible once a command turns them on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Item = TypeVar("Item")
_live: Progress | None = None


@contextlib.contextmanager
def shown(console: Console | None = None) -> Iterator[None]:
    """Show the bars of every `bar` and `track` inside the block (nested ones below one another).

    Nothing is shown where the output is not a terminal.
    """
    global _live
    console = console or Console(stderr=True)
    if _live is not None or not console.is_terminal:
        yield
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as live:
        _live = live
        try:
            yield
        finally:
            _live = None


def visible() -> bool:
    """Whether bars are shown now."""
    return _live is not None


@contextlib.contextmanager
def bar(description: str, total: float | None) -> Iterator[Callable[[float], None]]:
    """Yield ``advance(n)``; the bar disappears when the block ends, its parent's stays."""
    if _live is None:
        yield lambda n=1: None
        return
    live = _live
    task = live.add_task(description, total=total)
    try:
        yield lambda n=1: live.advance(task, n)
    finally:
        live.remove_task(task)


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Iterate over ``items`` behind a bar."""
    total = total if total is not None else len(items) if hasattr(items, "__len__") else None
    with bar(description, total) as advance:
        for item in items:
            yield item
            advance(1)
