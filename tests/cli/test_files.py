"""Files, folders, streams and addresses that are not as they should be: one message, status 1, nothing half done."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from midflight.cli.output import write_files
from midflight.cli.userfile import load_program
from midflight.errors import DeviceError, MidflightError
from midflight.runtime.devices.folders import owned_prefix
from midflight.runtime.devices.process import quoted
from midflight.runtime.engine.ports.pcap import PcapWriter
from midflight.runtime.p4runtime.addresses import check_address
from midflight.testbed.fabric import leftovers, runs
from midflight.testbed.fabric.leftovers import Leftover, find_leftovers, remove_leftover
from midflight.testbed.fuzz.kept import keep
from midflight.testbed.fuzz.play import Finding
from midflight.testbed.fuzz.program import draw_case
from midflight.testbed.topology.file import parse_topology
from midflight.userfiles import read_data, read_text
from tests.bmv2 import ROOT
from tests.cli.run import FORWARDER, PROGRAM, midflight, process
from tests.engine.build import source

TIMEOUT = 120.0
GOOD = FORWARDER.replace("SIZE", "8")
BOM = b"\xef\xbb\xbf"


def refused(*arguments: str | Path, says: str) -> None:
    """See that a command ends with status 1 and a message, without a traceback."""
    result = midflight(*arguments)
    assert result.exit_code == 1, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert says in result.stderr
    assert "Traceback" not in result.output


# Text


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"// caf\xe9\n" + GOOD.encode(), "not UTF-8 text (byte 6)"),
        (GOOD.encode("utf-16"), "it begins like UTF-16"),
        (GOOD.encode("utf-16-be").replace(b"\0#", b"\xfe\xff\0#", 1), "it begins like UTF-16"),
        (GOOD.encode() + b"\0", "is not a P4 token"),
        (b"", "the program has no main"),
        (BOM, "the program has no main"),
        (b"\x80", "not UTF-8 text (byte 0)"),
        (b"\xed\xa0\x80", "not UTF-8 text (byte 0)"),
        (GOOD.encode() + b"\xc3", "not UTF-8 text"),
        (BOM + BOM + GOOD.encode(), "is not a P4 token"),
    ],
)
def test_p4_that_is_not_text_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "program.p4"
    file.write_bytes(content)
    refused("check", file, says=says)
    refused("p4info", file, says=says)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_byte_order_mark_and_any_line_ends_are_fine(tmp_path: Path, end: str) -> None:
    file = tmp_path / "program.p4"
    file.write_bytes(BOM + GOOD.replace("\n", end).encode())
    assert midflight("check", file).exit_code == 0
    wrong = GOOD.replace("apply { bridge.apply(); }", "apply { nothing.apply(); }")
    file.write_bytes(BOM + wrong.replace("\n", end).encode())
    line = wrong[: wrong.index("nothing")].count("\n") + 1
    refused("check", file, says=f"{file}:{line}:")


@pytest.mark.parametrize("name", [b"caf\xe9.p4", b"\xff\xfe.p4", b"a\nb.p4", b" .p4", "é☃.p4".encode()])
def test_any_name_of_a_file_may_be_read_and_written(tmp_path: Path, name: bytes) -> None:
    file = tmp_path / os.fsdecode(name)
    file.write_text(GOOD)
    other, none = file.with_suffix(".txt"), file.with_suffix(".none")
    for arguments, status in ((("check", file), 0), (("p4info", file, "-o", other), 0), (("check", none), 1)):
        command = [sys.executable, "-m", "midflight", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT)
        assert done.returncode == status, done.stderr
        assert b"Traceback" not in done.stderr
    assert other.read_text()


@pytest.mark.parametrize("read", [read_text, read_data])
def test_a_path_with_a_null_byte_is_refused(read: Callable[[str], object]) -> None:
    with pytest.raises(MidflightError, match="is not the path of a file"):
        read("app\0.py")


@pytest.mark.parametrize("read", [read_text, read_data])
def test_a_file_without_end_is_refused_after_its_largest_size(read: Callable[[str, int], object]) -> None:
    with pytest.raises(MidflightError, match="/dev/zero: longer than 1000 "):
        read("/dev/zero", 1000)


@pytest.mark.parametrize(
    "arguments",
    [
        ("check",),
        ("p4info",),
        ("compile",),
        ("net",),
        ("steer", "factory"),
        ("run", "--pcap", "none.pcap"),
        ("deploy", "none.py", "--switches"),
        ("switch", "--grpc-server-addr", "127.0.0.1:0"),
        ("identity", "check", "--authority-public", "00" * 32),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("file", ["/dev/zero", "latin1", "."])
def test_every_command_names_the_file_that_it_cannot_read(
    arguments: tuple[str, ...], file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("latin1").write_bytes(b"caf\xe9\n")
    result = midflight(*arguments, file)
    assert result.exit_code in (1, 2)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    assert file in result.output
    assert sorted(each.name for each in tmp_path.iterdir()) == ["latin1"]


# Python files


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("raise BaseException('no')", "BaseException: no"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        ("import sys\nsys.exit((1, 2))", "SystemExit: (1, 2)"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise StopIteration", "StopIteration"),
        ("import no_such_module", "Install what has the module no_such_module"),
        ("from midflight.nothing import x", "No module named 'midflight.nothing'"),
        ("def f(:", "SyntaxError"),
        ("x = 1\0", "null bytes"),
        ("def f():\n    return f()\nf()", "RecursionError"),
        ("class E(Exception):\n    def __str__(self):\n        raise ValueError\nraise E", "message cannot be shown"),
        ("raise ExceptionGroup('several', [ValueError('one')])", "ExceptionGroup: several"),
        ("x = [0] * 10**14", "MemoryError"),
        ("input('? ')", "input"),
        ("import os\nos.chdir('/')\nraise ValueError('elsewhere')", "ValueError: elsewhere"),
    ],
)
def test_whatever_a_users_file_does_is_reported_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "app.py"
    file.write_text(text)
    before = Path.cwd()
    try:
        refused("compile", file, says=says)
        refused("compile", file, says=f"{file}:")
    finally:
        os.chdir(before)


def test_what_a_users_file_prints_is_not_mixed_with_the_result(tmp_path: Path) -> None:
    file = tmp_path / "app.py"
    file.write_text("print('hello')\nimport sys\nsys.stdout.close()\n" + PROGRAM)
    noisy = process("compile", file)
    file.write_text(PROGRAM)
    quiet = process("compile", file)
    assert (noisy.returncode, noisy.stdout) == (0, quiet.stdout)
    assert noisy.stderr == "hello\n"


def test_an_interrupt_while_a_users_file_runs_is_an_interrupt(tmp_path: Path) -> None:
    file = tmp_path / "app.py"
    file.write_text(
        "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "print('running', file=sys.stderr, flush=True)\nwhile True:\n    pass\n"
    )
    command = [sys.executable, "-m", "midflight", "compile", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert running.stderr.readline() == "running\n"
        running.send_signal(signal.SIGINT)
        assert running.wait(TIMEOUT) == 130
        assert running.stderr.read().strip() == ""


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        (("compile", "app.py"), signal.SIGHUP),
        (("net", "net.yaml", "--program", "app.py"), signal.SIGTERM),
        (("compile", "app.py"), signal.SIGTERM),
    ],
)
def test_a_signal_ends_a_command_and_leaves_nothing(arguments: tuple[str, ...], number: int, tmp_path: Path) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    (tmp_path / "net.yaml").write_text("links: [h1 s1, h2 s1]\n")
    (tmp_path / "app.py").write_text(
        "import sys, tempfile, time\n"
        "with tempfile.TemporaryDirectory():\n    print('running', file=sys.stderr, flush=True)\n    time.sleep(100)\n"
    )
    command = [sys.executable, "-m", "midflight", *arguments]
    environment = os.environ | {"TMPDIR": str(folder)}
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # nohup, for one, ignores SIGHUP
    ) as running:
        assert running.stderr is not None
        assert running.stderr.readline() == "running\n"
        running.send_signal(number)
        assert running.wait(TIMEOUT) == 128 + number
        assert running.stderr.read().strip() == ""
    assert list(folder.iterdir()) == []


# Output


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "program.p4"
    file.write_text(GOOD)
    return file


def shell(line: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell in which "$@" is the command line."""
    command = ["bash", "-c", line, "bash", sys.executable, "-m", "midflight", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)


@pytest.mark.parametrize(
    "arguments",
    [
        ("p4info", "PROGRAM"),
        ("check", "PROGRAM"),
        ("check", "--json", "PROGRAM"),
        ("primitives",),
        ("primitives", "aggregate"),
        ("--help",),
        ("--version",),
        ("compile", "threshold", "--set", "above=900", "--set", "clear=850"),
        ("compile", "--help"),
        ("clean", "--list"),
    ],
)
def test_standard_output_that_cannot_be_written_is_reported(program: Path, arguments: tuple[str, ...]) -> None:
    line = [program if each == "PROGRAM" else each for each in arguments]
    full = shell('"$@" >/dev/full', *line)
    assert full.returncode == 1
    assert full.stderr.startswith("midflight: standard output: No space left on device\n")
    closed = shell('"$@" >&-', *line)
    assert closed.returncode == 1
    assert closed.stderr.startswith("midflight: standard output: Bad file descriptor\n    It is closed.")


@pytest.mark.parametrize("line", ['"$@" | true', '"$@" | head -c 1', '"$@" <&-', '"$@" 2>&-', '"$@" 2>/dev/full'])
def test_streams_that_nobody_reads_or_writes_are_fine(program: Path, line: str) -> None:
    for arguments in (("p4info", program), ("primitives",)):
        done = shell(line, *arguments)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_mistake_has_its_status_even_if_nobody_can_read_it(tmp_path: Path) -> None:
    for line in ('"$@" 2>&-', '"$@" 2>/dev/full', '"$@" >&- 2>&- <&-', '"$@" >/dev/full'):
        assert shell(line, "check", tmp_path / "none.p4").returncode == 1


def test_a_device_or_pipe_is_written_to_and_not_replaced(program: Path, tmp_path: Path) -> None:
    before = Path("/dev/full").stat()
    refused("p4info", program, "-o", "/dev/full", says="/dev/full: No space left on device")
    refused(
        "compile",
        "threshold",
        "--set",
        "above=9",
        "--set",
        "clear=8",
        "-o",
        "/dev/full",
        says="/dev/full: Not a directory",
    )
    assert Path("/dev/full").stat().st_rdev == before.st_rdev
    expected = process("p4info", program).stdout
    assert process("p4info", program, "-o", "/dev/stdout").stdout == expected
    assert Path("/dev/stdout").is_symlink()
    assert shell('"$@" -o >(cat)', "p4info", program).stdout == expected
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    assert process("p4info", program, "-o", link).returncode == 0
    assert link.is_symlink()
    assert target.read_text() == expected


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("none.p4/x", "Not a directory"),
        (".", "is a directory"),
        ("", "is a directory"),
        ("/proc/nothing/x", "/proc/nothing/x: No such file or directory"),
        ("x" * 300, "File name too long"),
        ("/dev/full/x", "Not a directory"),
    ],
)
def test_a_place_that_cannot_be_written_to_is_named(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("none.p4").write_text("")
    before = sorted(tmp_path.rglob("*"))
    refused("p4info", program, "-o", output, says=says)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.root
@ROOT[1]
def test_a_full_disk_is_reported_and_keeps_what_was_there(small_disk: Path, tmp_path: Path) -> None:
    old = small_disk / "one"
    old.write_text("old")
    with pytest.raises(MidflightError, match=r"two: No space left on device\n    Free some space"):
        write_files({old: "new", small_disk / "two": bytes(100_000)})
    assert [each.name for each in small_disk.iterdir()] == ["one"]
    assert old.read_text() == "old"
    app = tmp_path / "app.py"
    app.write_text(PROGRAM)
    (small_disk / "filling").write_bytes(bytes(40_000))
    refused("compile", app, "-o", small_disk / "build", says="No space left on device")
    assert sorted(each.name for each in small_disk.iterdir()) == ["filling", "one"]


@pytest.mark.root
@ROOT[1]
def test_a_full_disk_leaves_no_half_of_a_capture_or_picture(small_disk: Path, tmp_path: Path) -> None:
    program, captured, old = tmp_path / "prog.p4", tmp_path / "in.pcap", small_disk / "old" / "port2.pcap"
    program.write_text(source(ingress="std.egress_spec = 2;"))
    with PcapWriter(captured) as file:
        for number in range(70):
            file.write(number, bytes(1000))
    old.parent.mkdir()
    old.write_bytes(b"earlier results")
    for folder in ("old", "new/one"):
        output = small_disk / folder
        refused("run", program, "--pcap", captured, "-o", output, says="port2.pcap: No space left on device")
    refused("run", program, "--pcap", tmp_path / "none.pcap", "-o", small_disk / "new", says="none.pcap: No such file")
    case = draw_case(3)
    (small_disk / "filling").write_bytes(bytes(60_000))
    with pytest.raises(MidflightError, match=r"seed-3\S*: No space left on device"):
        keep(small_disk / "findings" / "seed-3", case, case, Finding("refused", "why" * 1000), "host", 3)
    picture = small_disk / "queues.png"
    refused("demo", "queues", "--seconds", "0.5", "--picture", picture, says="queues.png: No space left on device")
    assert [each for each in sorted(small_disk.rglob("*")) if each.is_file()] == [small_disk / "filling", old]
    assert old.read_bytes() == b"earlier results"
    assert not (small_disk / "new").exists()


@pytest.mark.root
@ROOT[1]
def test_results_on_a_full_disk_are_reported_after_the_work(small_disk: Path, tmp_path: Path) -> None:
    program, test, lab = tmp_path / "prog.p4", tmp_path / "test.stf", tmp_path / "forwarding"
    program.write_text(source(ingress="std.egress_spec = 2;"))
    test.write_text("packet 1 00010203\nexpect 2 00010203\n")
    assert midflight("lab", "start", "forwarding", lab).exit_code == 0
    (small_disk / "filling").write_bytes(bytes(65_536))
    full, out = "No space left on device\n    Free some space", small_disk / "out"
    for option in ("--json", "--junit"):
        refused("stf", program, test, option, out, says=full)
    refused("lab", "grade", lab, "--lab", "forwarding", "--seed", "1", "--out", out, says=full)
    refused("lab", "start", "forwarding", small_disk / "lab", says=full)
    refused("conformance", "--primitive", "Threshold", "--cases", "1", "--json", out, says=full)
    refused("fuzz", "--programs", "1", "--packets", "5", "-o", small_disk / "findings", "--json", out, says=full)
    assert [each.name for each in small_disk.rglob("*")] == ["filling"]


@pytest.mark.root
@ROOT[1]
def test_a_full_disk_leaves_neither_a_key_nor_a_process_without_reason(small_disk: Path, tmp_path: Path) -> None:
    (small_disk / "filling").write_bytes(bytes(65_536))
    refused("identity", "key", small_disk / "edge.key", says="edge.key: No space left on device")
    with pytest.raises(MidflightError, match=r"No space left on device\n    Free some space"):
        PcapWriter(small_disk / "out.pcap").close()
    assert quoted("", small_disk) == f"no space is left in {small_disk}"
    assert quoted("", tmp_path) == "its log is empty"
    assert sorted(each.name for each in small_disk.iterdir() if each.stat().st_size) == ["filling"]


def test_only_standard_output_that_is_full_is_blamed(tmp_path: Path) -> None:
    script = (
        "import errno, os\nfrom midflight.cli.group import _exit_status\n"
        "def fail():\n    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\nraise SystemExit(_exit_status(fail))"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"midflight: a file in {tmp_path}: No space left on device\n    Free some space")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES])
def test_an_error_without_a_name_gets_the_name_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def failing(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fchmod", failing)
    with pytest.raises(MidflightError) as failure:
        write_files({tmp_path / "file": "text"})
    assert failure.value.message == f"{tmp_path / 'file'}: {os.strerror(number)}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [10, 14, 18, 22, 26])
def test_few_file_descriptors_are_reported(program: Path, limit: int) -> None:
    assert shell(f'ulimit -n {limit}; "$@"', "check", program).returncode == 0
    script = (
        "from midflight.primitives import Filter, Program\nfrom midflight.testbed import Star\n"
        "Star(2, program=Program(Filter('f', keep='a > 3')))"
    )
    command = ["bash", "-c", f'ulimit -n {limit}; exec "$@"', "bash", sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 1
    assert f"this process may only open {limit} files" in done.stderr
    assert "ulimit -n 1024" in done.stderr


@pytest.mark.parametrize("command", [("steer", "factory"), ("adversary",), ("conformance",), ("fuzz",)])
def test_the_number_of_workers_is_bounded(command: tuple[str, ...]) -> None:
    result = midflight(*command, "--workers", "257")
    assert result.exit_code == 2
    assert "257 is not in the range 1<=x<=256" in result.stderr


def test_workers_need_file_descriptors_and_leave_no_folder(tmp_path: Path) -> None:
    line = 'ulimit -n 30; exec "$@" steer factory --seeds 1 --workers 2'
    done = subprocess.run(
        ["bash", "-c", line, "bash", sys.executable, "-m", "midflight"],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("midflight: this process may only open 30 files")
    assert list(tmp_path.iterdir()) == []


# YAML


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hosts: [2001-01-01]\nlinks: [2001-01-01 s1]", "'2001-01-01'"),
        ("hosts: [2001-99-99]\nlinks: [h1 s1]", "'2001-99-99'"),
        ("defaults: {delay: 2001-12-14t21:59:43.10-05:00}\nlinks: [h1 s1]", "'2001-12-14t21:59:43.10-05:00'"),
        ("star: {hosts: 2001-01-01}", "'2001-01-01'"),
        ("links: [h1 s1]\nlinks: [h2 s1]", "links"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nlinks: [*b, *b]", "has no 'a'"),
        ("links: &a [*a]", "one value is expected"),
        ("hosts: &a {h1: *a}\nlinks: [h1 s1]", "a list of names"),
        ("1: 2", "'1'"),
        ("[a, b]: c", "one value is expected"),
        ("{a: b}: c", "one value is expected"),
        ("~: x", "'None'"),
        ("links: [h1 s1]\n<<: {x: 1}", "merge is not supported"),
        ("links: !!python/object/apply:os.system ['echo']", "python/object/apply:os.system is not supported"),
        ("links: !!set {a, b}", "a list of links"),
        ("hosts: !!binary aGVsbG8=\nlinks: [h1 s1]", "a list of names"),
        (f"defaults: {{rate: {'9' * 5000}}}\nlinks: [h1 s1]", "'9999999999999999999999999999999999999999...'"),
        ("defaults: {loss: .nan}\nlinks: [h1 s1]", "not a valid loss"),
        (f"links: {'[' * 5000}{']' * 5000}", "nested too deeply"),
        ("links: [h1 s1]\n---\nlinks: [h2 s1]", "single document"),
        ("links:\n\t- h1 s1", "not YAML"),
        ("links: [h1\x07 s1]", "not YAML"),
        ("links: [" + ", ".join(f"h{number} s1" for number in range(3000)) + "]", "port"),
        ("leaf_spine: {leaves: 100000, spines: 100000, hosts: 1}", "leaves"),
    ],
)
def test_odd_yaml_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(MidflightError) as refusal:
        parse_topology(text, "net.yaml")
    assert says in refusal.value.message
    assert "datetime" not in refusal.value.message
    assert refusal.value.place is not None


def test_yaml_may_begin_with_a_byte_order_mark_and_is_utf8(tmp_path: Path) -> None:
    file = tmp_path / "net.yaml"
    file.write_bytes(BOM + b"links: [h1 s1, h2 s1]\n")
    assert len(parse_topology(read_text(file)).hosts) == 2
    for content in (b"# caf\xe9\n", "links: [h1 s1]".encode("utf-16")):
        file.write_bytes(content)
        with pytest.raises(MidflightError, match="UTF-8"):
            read_text(file)


def test_a_user_s_file_cannot_move_the_command_to_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "moves.py"
    file.write_text(
        "import os\nfrom midflight.primitives import Program, TopN\nos.chdir('/')\np = Program(TopN('t', n=3))\n"
    )
    load_program(file)
    assert Path.cwd() == tmp_path


def test_a_working_directory_that_is_gone_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    result = midflight("deploy", tmp_path / "app.py", "--switches", "network.yaml", "--state", tmp_path / "state")
    assert result.exit_code == 1
    assert result.output.startswith("midflight: ")


# Addresses


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("127.0.0.1:99999", "a port is 1 to 65535"),
        ("127.0.0.1:65536", "a port is 1 to 65535"),
        ("127.0.0.1:0", "a port is 1 to 65535"),
        ("[::1]:70000", "a port is 1 to 65535"),
        (f"localhost:{'9' * 5000}", "a port is 1 to 65535"),
        ("127.0.0.1:-1", "is not an address"),
        ("127.0.0.1:abc", "is not an address"),
        ("127.0.0.1:²", "is not an address"),
        ("127.0.0.1", "is not an address"),
        ("::1:9559", r"write \[::1\]:9559"),
        (":9559", "is not an address"),
        ("", "is not an address"),
        ("unix:", "has no path"),
        (f"unix:/{'x' * 200}", "too long for a socket"),
    ],
)
def test_an_address_that_no_server_has_is_refused(address: str, says: str) -> None:
    with pytest.raises(DeviceError, match=says):
        check_address(address)
    if address != "127.0.0.1:0":
        with pytest.raises(DeviceError):
            check_address(address, listening=True)


def test_what_gRPC_takes_is_an_address(tmp_path: Path) -> None:  # noqa: N802
    for each in ("127.0.0.1:9559", "[::1]:1", "localhost:65535", "some-host.example:50051", f"unix:{tmp_path}/socket"):
        check_address(each)
        check_address(each, listening=True)
    check_address("127.0.0.1:0", listening=True)
    with pytest.raises(DeviceError, match="cannot listen"):
        check_address(f"unix:{tmp_path}/none/socket", listening=True)


def test_the_switch_does_not_serve_at_port_99999(program: Path) -> None:
    refused("switch", program, "--grpc-server-addr", "127.0.0.1:99999", says="a port is 0 to 65535, not 99999")


# What is left behind

FORKS = """
import sys
from midflight.runtime.devices.forkserver import ForkServer
forks = ForkServer()
print(forks._folder, flush=True)
sys.stdin.read()
"""


def test_folders_of_killed_processes_are_found_and_removed(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", FORKS]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as killed:
        assert killed.stdout is not None
        folder = Path(killed.stdout.readline().strip())
        assert folder.is_dir()
        assert find_leftovers([], tmp_path) == [], "its process lives"
        killed.kill()
        killed.wait(TIMEOUT)
    (left,) = find_leftovers([], tmp_path)
    assert (left.path, left.owner) == (folder, f"process {killed.pid}")
    told = process("clean", "--list", TMPDIR=str(tmp_path))
    assert f"{folder}: left behind by process {killed.pid}" in told.stdout
    assert folder.is_dir()
    remove_leftover(left)
    assert not folder.exists()
    remove_leftover(left)


def test_what_cannot_be_removed_does_not_keep_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[str] = []

    def remove(left: Leftover) -> None:
        if left.owner == "another":
            raise DeviceError(f"cannot remove {left.path}: Permission denied", hint="run it with sudo")
        gone.append(left.path.name)

    found = [Leftover(Path("a"), "process 1"), Leftover(Path("b"), "another"), Leftover(Path("c"), "process 2")]
    monkeypatch.setattr(leftovers, "find_leftovers", lambda _: found)
    monkeypatch.setattr(leftovers, "remove_leftover", remove)
    monkeypatch.setattr(runs, "find", lambda: [])
    done = midflight("clean")
    assert gone == ["a", "c"]
    assert done.exit_code == 1
    assert "b: left behind by another: not removed" in done.output
    assert "cannot remove b: Permission denied\n    run it with sudo" in done.output


def test_a_cache_that_others_can_access_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "find_leftovers", lambda _: [])
    monkeypatch.setattr(runs, "find", lambda: [])
    monkeypatch.delenv("MIDFLIGHT_CODE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert midflight("clean", "--cache", "--list").output == "the cache of compiled programs: 0.0 MiB\n"
    code = tmp_path / "midflight" / "code"
    (code / "kept").touch()
    code.chmod(0o755)
    for options in (("--list",), ()):
        done = midflight("clean", "--cache", *options)
        assert done.output == f"the cache {code} is not used: others have permissions for it\n"
    assert (code / "kept").exists()


def test_only_what_is_left_behind_is_removed(tmp_path: Path) -> None:
    def make(name: str, make: Callable[[Path], object] = Path.mkdir) -> Path:
        make(tmp_path / name)
        return tmp_path / name

    gone = 4_194_305  # beyond the largest process id
    mine = make(f"{owned_prefix('bmv2')}abcdefgh")
    make("midflight-notes")
    make(f"midflight-bmv2-{gone}-abc")
    make(f"other-bmv2-{gone}-abcdefgh")
    make(f"midflight-link-{gone}-abcdefgh", lambda path: path.symlink_to("/"))
    in_use = make("midflight-abc123-abcdefgh")
    stray, bmv2 = make("midflight-abc124-abcdefgh"), make(f"midflight-bmv2-{gone}-abcdefgh")
    file = make(f"midflight-output-{gone}-abcdefgh", Path.touch)
    found = find_leftovers(["abc123"], tmp_path)
    assert {each.path for each in found} == {stray, bmv2, file}
    for each in found:
        remove_leftover(each)
    assert not any(each.path.exists() for each in found)
    assert mine.is_dir()
    assert in_use.is_dir()


def test_a_folder_of_an_earlier_process_with_the_same_id_is_left_behind(tmp_path: Path) -> None:
    folder = tmp_path / f"{owned_prefix('bmv2')}abcdefgh"
    folder.mkdir()
    assert find_leftovers([], tmp_path) == []
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as later:
        other = tmp_path / f"midflight-bmv2-{later.pid}-abcdefgh"
        other.mkdir()
        assert find_leftovers([], tmp_path) == [], "made after the process began"
        later.communicate(b"\n", TIMEOUT)
    assert [each.path for each in find_leftovers([], tmp_path)] == [other]
