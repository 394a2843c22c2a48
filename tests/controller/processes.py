"""`midflight deploy` as a process."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from tests.controller.lab import NETWORK, Lab

__all__ = ["Process", "processes"]


class Process:
    """`midflight deploy` as a process, with its log."""

    def __init__(self, lab: Lab, *options: str) -> None:
        command = [sys.executable, "-m", "midflight", "deploy", "--switches", str(lab.folder / "network.yaml")]
        command += ["--state", str(lab.folder / "state"), *options]
        # The tests themselves may run with SIGHUP ignored, such as under nohup, and processes inherit that.
        default = partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=default)
        self.read: list[str] = []

    def until(self, word: str) -> str:
        """Wait for the first line of the log that contains a word, and return it."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.read.append(line)
            if word in line:
                return line
        raise AssertionError(f"it ended with {self.process.wait()} without {word!r}")

    def end(self, number: int) -> str:
        """Send a signal, wait for the successful end of the process, and return the rest of the log."""
        self.process.send_signal(number)
        _, rest = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, rest
        return rest


@contextmanager
def processes(lab: Lab) -> Iterator[Callable[..., Process]]:
    """Yield a function that starts `midflight deploy` in a lab, with these options. The processes are killed at the
    end.
    """
    (lab.folder / "network.yaml").write_text(NETWORK.replace("FOLDER", str(lab.folder)))
    started: list[Process] = []

    def start(*options: str) -> Process:
        started.append(Process(lab, *options))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()
