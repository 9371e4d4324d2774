"""Tasks on a Dask cluster: the same functions, carried out by its workers; the only place that imports dask."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Iterator, Sequence

from bayesaffect.errors import InputError, first_line
from bayesaffect.uncertainty import member
from bayesaffect.uncertainty.member import Place, Task

CONNECT_S = 6


def threads(address: str) -> int:
    """Number of tasks that the cluster can run at once, one per worker process.

    Raises
    ------
    InputError : if dask is not installed, nobody answers at ``address``, or there is no worker.
    """
    with connected(address) as client:
        count = len(client.scheduler_info(n_workers=-1)["workers"])
    if count == 0:
        raise InputError("has no worker", where=address, remedy=f"start some: dask worker {address}")
    return count


@contextlib.contextmanager
def connected(address: str) -> Iterator:
    """A client of the scheduler at ``address``, closed at the end; its unfinished tasks are then forgotten there."""
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "--scheduler needs dask, which is not installed", remedy='install it with pip install "bayesaffect[dask]"'
        ) from None
    with _silence():
        client = None
        try:
            try:
                _check(address)
                client = Client(address, timeout=CONNECT_S, set_as_default=False)
            except (OSError, TimeoutError, ValueError, ImportError) as error:
                raise InputError(
                    f"no Dask scheduler answers ({first_line(error)})",
                    where=address,
                    remedy="start one with `dask scheduler`, and give the address it prints, such as "
                    "tcp://127.0.0.1:8786",
                ) from None
            yield client
        finally:
            if client is not None:
                client.close(timeout=CONNECT_S)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Dask's own news, such as a worker that is lost and replaced: what goes wrong is said in one sentence here.

    Dask gives some of its loggers (``distributed.client``) levels of their own, which that of their root leaves as
    they are.
    """
    roots = ("distributed", "asyncio", "tornado")
    names = {*roots, *(name for name in logging.root.manager.loggerDict if name.partition(".")[0] in roots)}
    before = {log: log.level for log in map(logging.getLogger, names)}
    for log in before:
        log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for log, level in before.items():
            log.setLevel(level)


def _check(address: str):
    """A client that is given an address of no such form would leave threads behind."""
    from distributed.comm.addressing import parse_address, parse_host_port
    from distributed.comm.registry import get_backend

    scheme, place = parse_address(address)
    get_backend(scheme)
    parse_host_port(place)


def results(address: str, place: Place, tasks: Sequence[Task], *, wait: bool) -> Iterator[tuple[int, str]]:
    """Positions of tasks as they end, and what `member.run` says about them.

    The workers find inputs and leave results in ``place.directory``, on a file system that they share with this
    process. A task whose worker dies is given to another one and goes on at its last checkpoint.

    Raises
    ------
    InputError : if the scheduler does not answer or is lost, workers lack this package or the folder, or a task has
        lost one worker after the other.
    """
    with connected(address) as client:
        from distributed import as_completed

        run = f"bayesaffect-{uuid.uuid4().hex}"  # two clients with the same tasks do not share futures
        futures = [
            client.submit(member.run, place, task, wait=wait, key=f"{run}-{k}", priority=len(tasks) - k)
            for k, task in enumerate(tasks)
        ]
        position = {future.key: k for k, future in enumerate(futures)}
        try:
            for future in as_completed(futures, loop=client.loop):
                k, outcome = position[future.key], _outcome(future, address)
                if outcome != member.BUSY and not place.draws(tasks[k]).is_file():
                    raise InputError(
                        "workers of the Dask cluster leave their results where this process does not see them",
                        where=place.directory,
                        remedy="put the workspace on a file system that is mounted under the same path everywhere",
                    )
                yield k, outcome
        finally:
            with contextlib.suppress(Exception):
                client.cancel([future for future in futures if not future.done()])


def _outcome(future, address: str) -> str:
    from concurrent.futures import CancelledError

    from distributed.scheduler import KilledWorker

    try:
        return future.result()
    except KilledWorker:
        raise InputError(
            "one task has cost several Dask workers their lives",
            where=address,
            remedy="give the workers more memory; the same command then goes on with what is finished",
        ) from None
    except CancelledError:
        raise InputError(
            "the Dask scheduler has gone, or somebody has cancelled the tasks there",
            where=address,
            remedy="the same command goes on with what is finished",
        ) from None
    except ModuleNotFoundError as error:
        raise InputError(
            f"the workers lack {error.name!r}", where=address, remedy="install the same packages where they run"
        ) from None
