"""A rank's side of collectives: a thread that drives the endpoints and carries out one collective after the other."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from midflight.collectives.rounds import Round
from midflight.errors import MidflightError
from midflight.runtime.endpoint.allreduce import AllReduce
from midflight.runtime.endpoint.udp import Driven, drive

__all__ = ["Client", "Elsewhere", "Job", "TimedOutError", "Watch"]

_LOG = logging.getLogger("midflight")
_TICK = 0.25  # seconds between looks at the other ranks


class TimedOutError(MidflightError):
    """A collective did not complete in time."""


class Elsewhere(Protocol):
    """Something that a collective waits for besides rounds, such as an operation of another library."""

    def done(self) -> bool:
        """Return whether it has finished."""

    def notify(self, wake: Callable[[], None]) -> None:
        """Call `wake` once it has finished, from any thread; at once if it has finished already."""


@dataclass(slots=True)
class Job:
    """A collective to carry out.

    name: what it is, for messages. steps: a generator that yields `Round`s and objects of the kind `Elsewhere`, and is
    sent the result of each round, and None for the others. finished: called once, in the client's thread, with None
    when the generator has returned, or with the exception that ended the collective. If the client has failed or is
    closed already, `submit` calls it.
    """

    name: str
    steps: Generator[Round | Elsewhere, Any, None]
    finished: Callable[[BaseException | None], None]


class Watch(Protocol):
    """Knows of the other ranks: which have ended, and how far they are."""

    def begin(self, number: int) -> None:
        """Note that this rank has begun its collective of this number, counted from 1."""

    def gone(self) -> str:
        """Return a message about ranks that have ended, or an empty text if there are none."""

    def late(self, number: int) -> str:
        """Return a message about ranks that have not begun the collective of this number, or an empty text."""


class Client:
    """Carries out the collectives of one rank, in the order of their submission, which is that of all other ranks.

    endpoints: by operation, the endpoint whose rounds reduce by it. sockets: what drives them. watch: knows of the
    other ranks. timeout: the seconds that a collective may take from its beginning. grace: the seconds that it may
    still take once a rank has ended, whose contribution may be on its way. quiet: the seconds without any
    progress after which the log `midflight` says what is missing, and again after two, four, ... times as long.

    A collective fails with TimedOutError after `timeout`, with MidflightError after `grace`, or with the error of its
    steps or of an endpoint. After an error no later collective can succeed, because the ranks no longer agree on what
    is summed: each fails with the same error, and the thread ends. Between collectives the thread answers other ranks.
    `close` ends it.
    """

    def __init__(
        self,
        endpoints: Mapping[str, AllReduce],
        sockets: Sequence[Driven],
        watch: Watch,
        *,
        timeout: float,
        grace: float = 2.0,
        quiet: float = 5.0,
    ) -> None:
        self._endpoints, self._sockets, self._watch = endpoints, sockets, watch
        self._timeout, self._grace, self._quiet = timeout, grace, quiet
        self._reducing = ""  # the operation of the round that is being carried out, if any
        self._jobs: deque[Job] = deque()
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self._closing = False
        self._number = 0
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="collectives", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queue a collective, without waiting.

        If the client has failed or is closed, `finished` is called at once, in the caller's thread, with the error.
        """
        with self._lock:
            error = self._error or (MidflightError("the group has been destroyed") if self._closing else None)
            if error is None:
                self._jobs.append(job)
                os.eventfd_write(self._wake, 1)
                return
        job.finished(error)

    @property
    def alive(self) -> bool:
        """Whether it carries out collectives and answers other ranks: False after an error and after `close`."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the thread; collectives that have not completed fail. Idempotent. Do not call it from `Job.finished`."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            os.eventfd_write(self._wake, 1)
        self._thread.join()
        os.close(self._wake)

    def _run(self) -> None:
        try:
            while self._rest():
                self._perform(self._jobs[0])
        except BaseException as error:
            self._fail(error)
        if self._closing:
            self._fail(MidflightError("the group has been destroyed"))

    def _rest(self) -> bool:
        """Drive the endpoints until there is a collective. Return False if the client is closed instead."""
        while not self._jobs or self._closing:
            if self._closing:
                return False
            drive(self._sockets, lambda: bool(self._jobs) or self._closing, self._wake)
            self._clear()
        return True

    def _perform(self, job: Job) -> None:
        self._number += 1
        self._watch.begin(self._number)
        deadline = _Deadline(self, job.name)
        try:
            step = next(job.steps)
            while True:
                step = job.steps.send(self._step(step, deadline))
        except StopIteration:
            pass
        self._jobs.popleft()
        job.finished(None)

    def _step(self, step: Round | Elsewhere, deadline: _Deadline) -> Any:
        if not isinstance(step, Round):
            step.notify(self._alarm)
            self._wait(step.done, deadline)
            return None
        if not step.values.size:
            return step.values
        endpoint = self._endpoints[step.operation]
        endpoint.submit(step.values)
        self._reducing = step.operation
        self._wait(lambda: endpoint.idle, deadline)
        self._reducing = ""
        result = endpoint.take()
        assert result is not None
        return result.integers.astype(np.int32)

    def _wait(self, until: Callable[[], bool], deadline: _Deadline) -> None:
        while not drive(self._sockets, lambda: until() or self._closing, self._wake, _TICK):
            self._clear()
            deadline.check()
        if self._closing and not until():
            raise MidflightError("the group has been destroyed")

    def _progress(self) -> tuple[str, int, int, int]:
        """Return what differs whenever something has been completed."""
        if not self._reducing:
            return "", 0, 0, 0
        endpoint = self._endpoints[self._reducing]
        counters = endpoint.statistics
        return self._reducing, endpoint.upcoming, counters.reliable.answered, counters.stuck

    def _missing(self) -> str:
        """Return what the collective waits for, in words."""
        if not self._reducing:
            return "it waits for an operation that is not the switch's"
        endpoint = self._endpoints[self._reducing]
        text = f"results of packets of its round of {self._reducing!r} are missing: {endpoint.open}"
        if unheard := endpoint.unheard:
            text += f", and contributions of ranks {', '.join(map(str, unheard))}, which were asked for them"
        return text

    def _alarm(self) -> None:
        """Make the thread look again at what it waits for."""
        with self._lock:
            if not self._closing:
                os.eventfd_write(self._wake, 1)

    def _clear(self) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._error = self._error or error
            jobs = [*self._jobs]
            self._jobs.clear()
        for each in jobs:
            each.steps.close()
            each.finished(error)


class _Deadline:
    """Ends a collective that takes too long, and says whose fault it is; logs what is missing long before that."""

    def __init__(self, client: Client, name: str) -> None:
        self._client, self._name = client, name
        self._end = time.monotonic() + client._timeout
        self._gone_since: float | None = None
        self._progress = client._progress()
        self._progressed, self._quiet = time.monotonic(), client._quiet

    def check(self) -> None:
        """Raise MidflightError if a rank has ended some time ago, TimedOutError if the collective takes too long."""
        client, now = self._client, time.monotonic()
        number, what = client._number, f"collective {client._number} ({self._name})"
        if gone := client._watch.gone():
            # What it contributed may still complete the collective.
            self._gone_since = self._gone_since or now
            if now >= self._gone_since + client._grace:
                raise MidflightError(f"{what} cannot complete: {gone}")
        if now >= self._end:
            reason = client._watch.late(number) or "all ranks have begun it; the switch or the network does not answer"
            raise TimedOutError(f"{what} did not complete within {client._timeout:g} s: {reason}")
        if (progress := client._progress()) != self._progress:
            self._progress, self._progressed, self._quiet = progress, now, client._quiet
        elif now >= self._progressed + self._quiet:
            text = f"{what} has made no progress for {now - self._progressed:.0f} s: {client._missing()}"
            self._quiet *= 2
            # In a thread, because whoever knows how far the other ranks are may not answer.
            threading.Thread(target=_warn, args=(text, client._watch, number), name="warning", daemon=True).start()


def _warn(text: str, watch: Watch, number: int) -> None:
    _LOG.warning("%s; %s", text, watch.late(number) or "all ranks have begun it")
