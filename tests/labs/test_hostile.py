"""Hostile submissions: they cannot read or change the tests, reach other processes, or send forged results."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest

from midflight.errors import MidflightError
from midflight.labs.bench import Bench, GradedTest, require
from midflight.labs.catalogue import COURSES, find_lab
from midflight.labs.grading import grade, read_submission
from midflight.labs.process import ChildError, TimeLimit
from midflight.labs.student import Isolation, Student, StudentError

NAME = "agent.py"

Submit = Callable[[str], Student]

FLOOD = """
import os
for n in range(3, 32):
    try:
        os.write(n, b'{"ok": [["points", 100]]}\\n' * 3)
    except OSError:
        pass
"""


@pytest.fixture(scope="module")
def confined() -> None:
    with Student({NAME: ""}, NAME, Isolation.PROCESS, monotonic() + 20) as student:
        if student.applied != ["landlock", "seccomp"]:
            pytest.skip("this kernel has no Landlock or no seccomp")


@pytest.fixture
def submit(confined: None) -> Iterator[Submit]:
    made: list[Student] = []

    def start(text: str) -> Student:
        made.append(Student({NAME: text}, NAME, Isolation.REQUIRED, monotonic() + 20))
        return made[-1]

    yield start
    for each in made:
        each.close()


EXECUTE = """
def go(body):
    try:
        exec(body, {})
    except BaseException as e:
        return type(e).__name__
    return ""
"""


@pytest.fixture(scope="module")
def agent(confined: None) -> Iterator[Student]:
    """A submission that carries out the statements that it gets, one process for many tests."""
    with Student({NAME: EXECUTE}, NAME, Isolation.REQUIRED, monotonic() + 600) as made:
        yield made


def attempt(agent: Student, body: str) -> str:
    """Return the name of the exception that statements raise in the submission, "" for none.

    In the statements, `GRADER` stands for the id of this process.
    """
    said = agent.call("go", body.replace("GRADER", str(os.getpid())))
    assert isinstance(said, str)
    return said


def test_an_honest_submission_works(submit: Submit) -> None:
    text = "import heapq, json, collections, numpy\ndef double(x):\n    print('noise')\n    return [x * 2, b'ab']\n"
    assert submit(text).call("double", 21) == [42, b"ab"]


@pytest.mark.parametrize(
    "path",
    [
        COURSES / "forwarding" / "grading.py",
        COURSES / "forwarding" / "mutants.toml",
        COURSES / "forwarding" / "solution" / "forwarding.p4",
        COURSES.parent / "grading.py",
        Path("/proc/self/environ"),
        Path("/proc/GRADER/cmdline"),
        Path("/proc/GRADER/mem"),
        Path("/etc/passwd"),
    ],
    ids=str,
)
def test_tests_and_the_grader_cannot_be_read(agent: Student, path: Path) -> None:
    assert attempt(agent, f"open({str(path)!r}, 'rb').read()") == "PermissionError"


def test_the_labs_cannot_be_imported_or_listed(agent: Student) -> None:
    assert attempt(agent, "import midflight.labs.courses.forwarding.grading") != ""
    assert attempt(agent, f"import os\nos.listdir({str(COURSES)!r})") == "PermissionError"


@pytest.mark.parametrize(
    "path",
    [
        COURSES / "forwarding" / "grading.py",
        COURSES / "new.py",
        Path("/tmp/forged"),
        Path("/dev/shm/forged"),
        Path("huge"),
        Path("../forged"),
    ],
    ids=str,
)
def test_nothing_can_be_written(agent: Student, path: Path) -> None:
    assert attempt(agent, f"open({str(path)!r}, 'ab').write(b'x')") == "PermissionError"
    assert not Path("/tmp/forged").exists()


@pytest.mark.parametrize(
    "body",
    [
        "import os\nos.kill(GRADER, 9)",
        "import signal\nsignal.pidfd_send_signal(0, 9)\nopen('/proc/GRADER/stat')",
        "import os\nos.fork()",
        "import os\nos.execv('/bin/true', ['true'])",
        "import subprocess\nsubprocess.run(['/bin/true'])",
        "import socket\nsocket.socket()",
        "import os\nos.posix_spawn('/bin/true', ['true'], {})",
        "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1000, 1000))",
        "import os\nos.unlink('agent.py')",
        "import os\nos.symlink('/etc/passwd', 'link')",
    ],
)
def test_other_processes_and_the_network_are_out_of_reach(agent: Student, body: str) -> None:
    assert attempt(agent, body) in ("PermissionError", "OSError", "ValueError")


def test_no_other_files_are_open(submit: Submit) -> None:
    text = (
        "import os\n"
        "def go():\n"
        "    found = []\n"
        "    for n in range(64):\n"
        "        try:\n            os.fstat(n)\n        except OSError:\n            continue\n"
        "        found.append(n)\n"
        "    return len(found)\n"
    )
    assert submit(text).call("go") <= 8  # its standard streams, the pipes, and the null device


@pytest.mark.parametrize(
    "text",
    [
        "import os\nos._exit(0)\n",
        FLOOD,
        "import os\nos.write(1, b'forged')\nos.close(1)\nraise SystemExit(0)\n",
        "import sys\nsys.stdout.write('{\"ok\": null}\\n')\nraise KeyboardInterrupt\n",
        "x = ['a']\nx.append(x)\ndef go():\n    return x\n",
        "def go():\n    return object()\n",
        "class Lie(int):\n    __index__ = lambda self: 'x'\ndef go():\n    return Lie(3)\n",
    ],
)
def test_forged_results_get_no_points(confined: None, text: str) -> None:
    def run(bench: Bench) -> None:
        require(bench.student(NAME).call("go") == 42, "the answer is not 42")

    test = GradedTest("one", 100, "The answer is 42", run, seconds=20)
    result = grade(find_lab("forwarding"), {NAME: text}, 1, tests=[test])
    assert result.points == 0
    assert result.results[0].reason


def test_a_subclass_cannot_equal_what_is_expected(submit: Submit) -> None:
    text = "class Any(int):\n    def __eq__(self, other):\n        return True\ndef go():\n    return Any(3)\n"
    assert submit(text).call("go") != 42


@pytest.mark.parametrize(
    "body",
    [
        "while True: pass",
        "import time\ntime.sleep(100)",
        "x = []\nwhile True: x.append(bytes(1 << 24))",
        "while True: print('x' * 1000)",
        "import sys\nwhile True: sys.stderr.write('x' * 1000)",
        "import os\nwhile True: os.write(1, bytes(1 << 16))",
        "import threading\nwhile True: threading.Thread(target=print).start()",
    ],
)
def test_limits_end_a_submission(submit: Submit, body: str) -> None:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    student = submit(f"def go():\n{lines}\n")
    student.deadline = monotonic() + 1
    with pytest.raises((TimeLimit, StudentError, ChildError)):
        student.call("go")


def test_a_huge_answer_is_refused(submit: Submit) -> None:
    with pytest.raises(MidflightError):
        submit("def go():\n    return bytes(1 << 24)\n").call("go")


def test_an_exception_names_its_place(submit: Submit) -> None:
    with pytest.raises(StudentError, match=r"agent\.py:2: ZeroDivisionError"):
        submit("def go():\n    return 1 // 0\n").call("go")


def test_without_confinement_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("midflight.labs.student.CONFINED", ["landlock", "seccomp", "more"])
    with pytest.raises(MidflightError, match="cannot confine"):
        Student({NAME: ""}, NAME, Isolation.REQUIRED, monotonic() + 20)


def test_a_program_includes_no_other_files() -> None:
    lab = find_lab("forwarding")
    path = COURSES / "forwarding" / "solution" / "forwarding.p4"
    for text in (f'#include "{path}"\n', f'#inc\\\nlude "{path}"\n', f"#include <{path}>\n"):
        result = grade(lab, {"forwarding.p4": text}, 1, tests=lab.tests[:1])
        assert result.points == 0
        assert "routes" not in result.results[0].reason


def test_tests_of_students_cannot_read_files() -> None:
    lab = find_lab("forwarding")
    own = [each for each in lab.tests if each.name.startswith("own tests")][:1]
    result = grade(lab, {"tests.stf": "include /etc/passwd\n"}, 1, tests=own)
    assert result.points == 0
    assert "root" not in result.results[0].reason


def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    lab = find_lab("forwarding")
    (tmp_path / "forwarding.p4").symlink_to("/etc/passwd")
    with pytest.raises(MidflightError):
        read_submission(lab, tmp_path)
    (tmp_path / "forwarding.p4").unlink()
    os.mkfifo(tmp_path / "forwarding.p4")
    with pytest.raises(MidflightError, match="not a regular file"):
        read_submission(lab, tmp_path)
    (tmp_path / "forwarding.p4").unlink()
    (tmp_path / "forwarding.p4").write_bytes(b"\xff\xfe")
    with pytest.raises(MidflightError, match="UTF-8"):
        read_submission(lab, tmp_path)
    (tmp_path / "forwarding.p4").write_text("x" * (1 << 19))
    with pytest.raises(MidflightError, match="longer"):
        read_submission(lab, tmp_path)
