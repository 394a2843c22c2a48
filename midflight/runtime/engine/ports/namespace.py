"""Runs functions in Linux network namespaces. Sockets that they open stay there, wherever they are used later."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import TypeVar

from midflight.errors import DeviceError

__all__ = ["Namespace", "within"]

Result = TypeVar("Result")

CLONE_NEWNET = 0x40000000


def within(netns: str, do: Callable[[], Result]) -> Result:
    """Run a function in a network namespace and return its result. Blocks until it ends; its exceptions propagate.

    `netns` is the namespace's file, or its name for `ip netns`; empty means the current namespace. The function runs in
    a thread of its own, so the rest of the process stays where it is. DeviceError if the namespace cannot be entered.
    """
    if not netns:
        return do()
    path = netns if "/" in netns else f"/run/netns/{netns}"

    def enter() -> None:
        try:
            place = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise DeviceError(f"no network namespace {netns}: {error.strerror}") from None
        try:
            _call_libc("setns", place, CLONE_NEWNET, what=f"cannot enter the network namespace {netns}")
        finally:
            os.close(place)

    return _in_a_thread(enter, do)


class Namespace:
    """An anonymous Linux network namespace: it ends with this object, or with this process, however that ends.

    `path` is its file, for other processes of the same user as long as this process runs. Interfaces created inside are
    removed with it. DeviceError without permission to create one. A context manager that closes it.
    """

    def __init__(self) -> None:
        def unshare() -> None:
            _call_libc("unshare", CLONE_NEWNET, what="no permission to create a network namespace")

        flags = os.O_RDONLY | os.O_CLOEXEC
        self._file = _in_a_thread(unshare, lambda: os.open("/proc/thread-self/ns/net", flags))
        self.path = f"/proc/{os.getpid()}/fd/{self._file}"

    def run(self, do: Callable[[], Result]) -> Result:
        """Run a function inside the namespace, in a thread of its own, and return its result; exceptions propagate."""
        return within(self.path, do)

    def close(self) -> None:
        """Release the namespace, which ends if no process uses it. May be called more than once."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Namespace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _in_a_thread(enter: Callable[[], None], do: Callable[[], Result]) -> Result:
    result: Future[Result] = Future()

    def work() -> None:
        try:
            enter()
            result.set_result(do())
        except BaseException as error:
            result.set_exception(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return result.result()


def _call_libc(name: str, *arguments: int, what: str) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        hint = "run it with sudo or grant it CAP_SYS_ADMIN"
        raise DeviceError(f"{what}: {os.strerror(ctypes.get_errno())}", hint=hint)
