"""A process that imports modules once and then runs `midflight` commands as forks: forking.py SOCKET MODULE...

`ForkServer` starts it, and communicates with it through the socket with that file descriptor. A request is JSON with
two descriptors: the output of the command, and a pipe for its exit code. The answer is the fork's process id, with a
descriptor of the process.

The process has one thread and opens no gRPC channel, so that forks are safe. The kernel kills the forks when it ends.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import re
import runpy
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from midflight.runtime.devices import launch

__all__ = ["TITLE", "main"]

TITLE = "room-for-a-fork-s-own-command-line" + "." * 4000
"""The last argument of the process, which reserves space: forks overwrite the arguments with their command lines."""

LONGEST = 1 << 16


def main(number: int, modules: list[str]) -> None:
    """Import the modules, then serve requests to run `midflight` as forks, until the other end of the socket is closed.

    `number` is the file descriptor of the socket; see the module for the protocol.
    """
    with socket.socket(fileno=number) as connection:
        for each in modules:
            importlib.import_module(each)
        gc.freeze()  # garbage collection in a fork would copy the pages of these objects
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        codes: dict[int, int] = {}
        while True:
            readable, _, _ = select.select([connection.fileno(), woken], [], [])
            if woken in readable:
                os.read(woken, LONGEST)
                _reap(codes)
            if connection.fileno() in readable:
                data, files, _, _ = socket.recv_fds(connection, LONGEST, 2)
                if not data:
                    return
                log, code = files
                parent = os.getpid()
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for file in (connection.detach(), woken, wake, code, *codes.values()):
                        os.close(file)
                    _become(json.loads(data), log, parent)
                os.close(log)
                codes[pid] = code
                process = os.pidfd_open(pid)
                socket.send_fds(connection, [str(pid).encode()], [process])
                os.close(process)


def _reap(codes: dict[int, int]) -> None:
    """Report the exit codes of forks that have ended."""
    while codes:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        code = codes.pop(pid)
        with suppress(BrokenPipeError):  # the reader is gone
            os.write(code, str(os.waitstatus_to_exitcode(status)).encode())
        os.close(code)


def _become(request: dict[str, Any], log: int, parent: int) -> None:
    """Run the command in this fork, and exit."""
    code: object = 1
    try:
        os.setsid()
        for each in (1, 2):
            os.dup2(log, each)
        os.close(log)
        launch.enter(request["netns"])
        launch.die_with(parent)
        sys.argv = ["midflight", *request["arguments"]]
        _set_command_line([sys.executable, "-m", *sys.argv])
        runpy.run_module("midflight", run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code
        if isinstance(code, str):
            print(code, file=sys.stderr)  # noqa: T201
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(0 if code is None else code if isinstance(code, int) else 1)


def _set_command_line(command: list[str]) -> None:
    """Set the command line of this process, as ps shows it, so that switches can be found by it."""
    with suppress(OSError):
        fields = re.sub(r".*\)", "", Path("/proc/self/stat").read_text(), flags=re.DOTALL).split()
        begin, end = int(fields[45]), int(fields[46])  # arg_start and arg_end, see proc(5)
        text = b"\0".join(os.fsencode(each) for each in command)
        with Path("/proc/self/mem").open("r+b", buffering=0) as memory:
            memory.seek(begin)
            memory.write(text[: end - begin - 1].ljust(end - begin, b"\0"))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:-1])
