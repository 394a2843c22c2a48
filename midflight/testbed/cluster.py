"""Campaigns on workers of a Dask cluster: a local one, or somebody's own. Needs the extra `sweep`.

A campaign is divided into units that depend on nothing else, so its results do not depend on the number of workers, and
a unit whose worker dies runs again.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from importlib import import_module
from multiprocessing import resource_tracker
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from midflight.errors import MidflightError
from midflight.runtime.devices.folders import owned_prefix
from midflight.runtime.p4runtime.descriptors import demand_descriptors

__all__ = ["local_cluster", "ordered_results", "results"]

_FILES, _FILES_EACH = 32, 16  # files that a local cluster opens in this process, and more for each worker

ATTEMPTS = 10  # how often a unit may lose its worker

Unit = TypeVar("Unit", bound=tuple[Any, ...])
Result = TypeVar("Result")


@contextmanager
def local_cluster(workers: int, address: str = "") -> Iterator[Any]:
    """Yield a client of a local Dask cluster with this many processes, or of the cluster at an address.

    A local one listens on loopback only, and ends with the block. MidflightError if distributed is not installed, or if
    the cluster cannot be reached or does not start, for example because this process may open too few files.
    """
    try:
        distributed: Any = import_module("distributed")
    except ImportError as error:
        raise MidflightError(
            "workers need Dask, which is not installed", hint="pip install 'midflight[sweep]'"
        ) from error
    if address:
        try:
            client = distributed.Client(address, timeout=10)
        except (OSError, TimeoutError, ValueError) as error:
            raise MidflightError(f"there is no Dask scheduler at {address}: {error}") from None
        with client:
            yield client
        return
    demand_descriptors(_FILES + _FILES_EACH * workers)
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix=owned_prefix("dask"), ignore_cleanup_errors=True))
        # Scheduler and workers put their files there, and not into a folder of their own, which would stay.
        stack.enter_context(import_module("dask").config.set({"temporary-directory": folder}))
        with _interrupts_blocked():
            try:
                cluster = stack.enter_context(
                    distributed.LocalCluster(
                        n_workers=workers,
                        threads_per_worker=1,
                        processes=True,
                        host="127.0.0.1",
                        dashboard_address="127.0.0.1:0",
                    )
                )
            except RuntimeError as error:
                raise MidflightError(f"the workers did not start: {error}") from error
        client = stack.enter_context(distributed.Client(cluster))
        client.run(_log_little)
        yield client


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in this thread; the threads and processes that begin here keep it blocked.

    Ctrl-C reaches all processes of a terminal. The workers must ignore it, as this process ends them.
    """
    resource_tracker.ensure_running()  # the first process of multiprocessing would unblock SIGINT when it starts this
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _log_little() -> None:
    """Limit a worker's log to critical messages: futures report its errors, and the others are about its end."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)


def results(
    client: Any, function: Callable[..., Result], units: Sequence[Unit], name: Callable[[Unit], str]
) -> Generator[tuple[Unit, Result]]:
    """Call a function with the values of each unit on the workers, and yield units with their results as they end.

    `client` is a `distributed.Client`, and `name` describes a unit in errors. What is not finished when the iterator is
    closed is cancelled. A MidflightError of the function is raised as it is. MidflightError also if the function raises
    another error, or if each of eleven workers dies with a unit.
    """
    as_completed: Any = import_module("distributed").as_completed
    futures = {client.submit(function, *unit, pure=False, retries=ATTEMPTS): unit for unit in units}
    try:
        for future in as_completed(list(futures)):
            try:
                yield futures[future], future.result()
            except MidflightError:
                raise
            except Exception as error:
                raise MidflightError(f"no worker could finish {name(futures[future])}: {error}") from error
    finally:
        client.cancel(list(futures))


def ordered_results(
    client: Any, function: Callable[..., Result], units: Sequence[Unit], name: Callable[[Unit], str]
) -> Generator[tuple[Unit, Result]]:
    """Yield what `results` does, with the same arguments and errors, but in the order of the units."""
    ended: dict[int, Result] = {}
    numbered = [(number, function, unit) for number, unit in enumerate(units)]
    following = 0
    with closing(results(client, _numbered, numbered, lambda each: name(each[2]))) as arriving:
        for (number, _, _), found in arriving:
            ended[number] = found
            while following in ended:
                yield units[following], ended.pop(following)
                following += 1


def _numbered(_number: int, function: Callable[..., Result], unit: tuple[Any, ...]) -> Result:
    return function(*unit)
