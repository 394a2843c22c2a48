"""The main program of a process on a host in a network of namespaces. It runs one task, received from its parent."""

from __future__ import annotations

import sys
from multiprocessing.connection import Connection

from midflight.errors import MidflightError
from midflight.testbed.fabric.relay import StartRelay, relay
from midflight.testbed.host.control import Failed, StartServer, StartWorker
from midflight.testbed.host.roles import serve, work

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Run the task received from the parent process until the connection to it closes, and return the exit status.

    `arguments` are `--control FD`, with the file descriptor of the connection. The status is 0, 2 for other arguments,
    and 1 after a MidflightError, which is sent to the parent.
    """
    if len(arguments) != 2 or arguments[0] != "--control" or not arguments[1].isdecimal():
        sys.stderr.write("usage: python -m midflight.testbed.host --control FD\n")
        return 2
    with Connection(int(arguments[1])) as control:
        try:
            task = control.recv()
            if isinstance(task, StartWorker):
                work(control, task)
            elif isinstance(task, StartServer):
                serve(control, task)
            elif isinstance(task, StartRelay):
                relay(control, task)
        except MidflightError as error:
            control.send(Failed(error.message, error.hint, type(error)))
            return 1
        except (EOFError, ConnectionError):  # the parent has ended or closed the connection
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
