"""Files that are either whole or absent, and keys that name a result by what it was made from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on every system: then processes may do the same work twice, and the last one's file stays
    fcntl = None


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to ``path`` only if the block succeeds.

    The temporary name keeps the suffix, because writers choose their format by it. On an error or
    an interrupt the temporary file is removed and an older ``path`` is left as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(temporary)):
            error.filename = str(path)  # the name that a user knows
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> Path:
    """Write ``text`` as UTF-8 through `atomic`."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path: str | os.PathLike, value) -> Path:
    """Write ``value`` as indented JSON through `atomic`; NaN is refused (it is not JSON)."""
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def key(*parts, length: int = 16) -> str:
    """Hexadecimal SHA-256 of JSON-serialisable parts: equal parts, equal key, on every machine."""
    text = json.dumps(parts, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def file_hash(path: str | os.PathLike, *, length: int = 16) -> str:
    """SHA-256 of a file's content, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:length]


@contextlib.contextmanager
def claim(path: str | os.PathLike, name: str, *, wait: bool) -> Iterator[bool]:
    """Yield whether this process may work on ``name``; nobody else may, until the block ends or the process dies.

    One lock file ``path`` serves all names: each locks one byte of it, so that nothing is left behind to clean up.
    With ``wait`` the block starts once the claim is free, and True is yielded.
    """
    if fcntl is None:
        yield True
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    place = int(hashlib.sha256(name.encode()).hexdigest()[:12], 16)
    with open(path, "a+b") as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, place)
        except OSError:
            yield False
            return
        yield True
