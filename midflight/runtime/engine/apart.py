"""Compilation of a program in a separate process, with limits on processor time and memory.

    python -m midflight.runtime.engine.apart SECONDS BYTES FILE STATE < program.p4

SECONDS of processor time and BYTES of memory limit the process. FILE is the name of the program in messages, and STATE
the memory in bytes that its registers and similar state may take. The process writes a pickle to its standard output:
the compiled program, or the error.
"""

from __future__ import annotations

import pickle
import resource
import subprocess
import sys
import threading
from dataclasses import dataclass

from midflight.errors import DeviceError, P4Error
from midflight.p4.frontend import check
from midflight.runtime.engine.compiled import Compiled
from midflight.runtime.engine.memory import BudgetError, demand

__all__ = ["CompileBudget", "CompilerDied", "compile_apart"]

# Pickling recurses as deep as the program is nested, so it gets a thread with a large stack.
_STACK, _DEPTH = 1 << 29, 1 << 20
# The timeout, as a multiple of the limit on processor time: other processes may use the processors as well.
_SLACK = 4.0
_NO_MEMORY = ("MemoryError", "bad_alloc", "can't start new thread", "Cannot allocate memory")
_QUOTED = 4000


@dataclass(frozen=True, slots=True)
class CompileBudget:
    """The limits for compiling one program: seconds of processor time, and bytes of memory of the compiler process."""

    seconds: int = 60
    memory: int = 3 << 30


class CompilerDied(DeviceError):  # noqa: N818 - named after the event
    """The compiler process failed without an answer. The message ends with the last of its standard error."""


def compile_apart(text: str, file: str, budget: CompileBudget, memory: int) -> Compiled:
    """Compile an untrusted P4 program, given as text, in a separate process, and return its code.

    Blocks until it is done, at most for four times `budget.seconds` of real time. `file` names the program in messages;
    it may include only core.p4 and v1model.p4. Raises P4Error for an invalid program, BudgetError if its state takes
    more than `memory` bytes or compiling it exceeds the budget or that time, and CompilerDied if the process fails in
    another way.
    """
    command = [sys.executable, "-m", __name__, str(budget.seconds), str(budget.memory), file, str(memory)]
    try:
        done = subprocess.run(
            command, input=text.encode(), capture_output=True, timeout=_SLACK * budget.seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise _beyond(budget) from None
    if done.returncode < 0:  # ended by a signal: beyond its processor time, or native code ran out of memory
        raise _beyond(budget)
    if done.returncode:
        log = done.stderr.decode(errors="replace")
        if any(each in log for each in _NO_MEMORY):
            raise _beyond(budget)
        raise CompilerDied(f"the compiler ended with status {done.returncode}: {log[-_QUOTED:]}")
    answer: Compiled | P4Error | BudgetError = pickle.loads(done.stdout)
    if isinstance(answer, Compiled):
        return answer
    raise answer


def _beyond(budget: CompileBudget) -> BudgetError:
    limits = f"{budget.seconds} s of processor time or {budget.memory >> 20} MiB of memory"
    return BudgetError(f"compiling the program takes more than {limits}")


def _answer(text: str, file: str, memory: int) -> Compiled | P4Error | BudgetError:
    try:
        program = check(text, file, confined=True)
        demand(program, memory)
        return Compiled(program)
    except (P4Error, BudgetError) as error:
        return error


def main() -> int:
    """Compile the program on standard input, write the pickled result to standard output, and return 0.

    The result is a `Compiled`, or the P4Error or BudgetError of a program that is invalid or needs too much memory. Any
    other error is raised. Arguments are taken from `sys.argv`: seconds, bytes, file and state, as described above. The
    process limits its own processor time and memory by the first two.
    """
    seconds, space = int(sys.argv[1]), int(sys.argv[2])
    file, memory = sys.argv[3], int(sys.argv[4])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    text = sys.stdin.buffer.read().decode()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            answer = _answer(text, file, memory)
            sys.setrecursionlimit(_DEPTH)
            sys.stdout.buffer.write(pickle.dumps(answer))
        except BaseException as error:
            failures.append(error)

    threading.stack_size(_STACK)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return 0


if __name__ == "__main__":
    sys.exit(main())
