"""A pool of threads that lasts until it is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

__all__ = ["Workers"]

T = TypeVar("T")


class Workers:
    """A pool of at most `most` threads, started on demand, which run submitted functions in the order of submission.

    `name` is in the threads' names. Unlike the threads of a ThreadPoolExecutor, they work until `close`, even while the
    interpreter waits for other threads at exit and while exit handlers run, and they do not prevent the interpreter
    from exiting.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._lock = threading.Lock()
        self._idle = threading.Semaphore(0)
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(self, work: Callable[..., T], *arguments: Any) -> Future[T]:
        """Call `work(*arguments)` in a thread of the pool, and return a future of its result, at once.

        An exception of `work` is in the future. RuntimeError after `close`.
        """
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = work(*arguments)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._lock:
            if self._closed:
                raise RuntimeError(f"{self._name}: closed")
            self._tasks.put(run)
            if not self._idle.acquire(blocking=False) and len(self._threads) < self._most:
                name = f"{self._name} {len(self._threads) + 1}"
                thread = threading.Thread(target=_work, args=(self._tasks, self._idle), name=name, daemon=True)
                thread.start()
                self._threads.append(thread)
        return future

    def close(self) -> None:
        """Wait until all submitted functions have returned and the threads have ended. May be called more than once."""
        with self._lock:
            if not self._closed:
                self._closed = True
                for _ in self._threads:
                    self._tasks.put(None)
        for each in self._threads:
            each.join()


def _work(tasks: SimpleQueue[Callable[[], None] | None], idle: threading.Semaphore) -> None:
    while (task := tasks.get()) is not None:
        task()
        del task
        idle.release()
