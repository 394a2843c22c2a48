"""p4lang's compiler and switch on this machine: where they are, which version, and a program compiled with them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from finsy.proto import p4i
from google.protobuf.message import DecodeError

from midflight.errors import DeviceError, P4Error, Place
from midflight.runtime.devices.base import PipelineConfig

__all__ = ["P4C", "SIMPLE_SWITCH_GRPC", "Tool", "compile_p4"]

# Seconds that the compiler is given. A program of hundreds of lines takes it about one.
PATIENCE = 120.0
# What the compiler is told that the program is called.
_NAME = "program.p4"


@dataclass(frozen=True, slots=True)
class Tool:
    """A program of p4lang's: the names it goes by, the variable that points at it, and the packages it comes in."""

    names: tuple[str, ...]
    variable: str
    package: str
    image: str

    def find(self) -> str:
        """Return its path: what the variable says, or else the first of its names on PATH. DeviceError without one."""
        told = os.environ.get(self.variable)
        for name in [told] if told else self.names:
            if path := shutil.which(name):
                return path
        if told:
            raise DeviceError(
                f"{self.variable} says {told}, which cannot be executed",
                hint=f"let it be the path of {' or '.join(self.names)}, or unset it to have PATH searched",
            )
        raise DeviceError(
            f"{' or '.join(self.names)} is needed and not on PATH",
            hint=f"install p4lang's Debian or Ubuntu package {self.package}, take it from the container image "
            f"{self.image}, or set {self.variable} to its path",
        )

    @property
    def missing(self) -> str:
        """Why it cannot be run, in one line; empty where it can."""
        try:
            self.find()
        except DeviceError as error:
            return error.message
        return ""

    def version(self) -> str:
        """Return the version it tells, such as "1.2.5.16". DeviceError where it is missing or does not run."""
        told = _run([self.find(), "--version"], timeout=30.0)
        found = re.search(r"\d+(?:\.\d+)+\S*", told.stdout + told.stderr)
        if told.returncode or not found:
            raise DeviceError(
                f"{self.find()} does not tell its version", hint=_last_lines(told.stderr or told.stdout, 5)
            )
        return found[0]


P4C = Tool(("p4c-bm2-ss", "p4c"), "MIDFLIGHT_P4C", "p4lang-p4c", "p4lang/p4c")
"""The compiler: its back end for BMv2's simple_switch, or the driver that calls it."""

SIMPLE_SWITCH_GRPC = Tool(
    ("simple_switch_grpc",), "MIDFLIGHT_SIMPLE_SWITCH_GRPC", "p4lang-bmv2", "p4lang/behavioral-model"
)
"""BMv2's v1model switch with a P4Runtime server."""


def compile_p4(
    source: str,
    file: str = "<string>",
    *,
    include_dirs: Iterable[str | Path] = (),
    defines: Mapping[str, str] | None = None,
    timeout: float = PATIENCE,
) -> PipelineConfig:
    """Compile a P4_16 program for BMv2; the config is its JSON.

    `file` is the program's name in messages; files that it includes are looked for in its folder and in
    `include_dirs`. P4Error with p4c's words where the program is refused; DeviceError where p4c is missing, or not
    done within `timeout` seconds. Warnings are not told.
    """
    compiler = P4C.find()
    folders = [*([Path(file).parent] if Path(file).is_file() else []), *include_dirs]
    with tempfile.TemporaryDirectory(prefix="midflight-p4c-") as folder:
        Path(folder, _NAME).write_text(source)
        arguments = ["--std", "p4-16", "--p4runtime-files", "p4info.bin"]
        # p4c hands these to a shell as they are. So folders get plain names, and values their quotes.
        for number, each in enumerate(folders):
            Path(folder, f"include{number}").symlink_to(Path(each).absolute())
            arguments += ["-I", f"include{number}"]
        for macro, value in (defines or {}).items():
            arguments.append("-D" + shlex.quote(f"{macro}={value}"))
        if Path(compiler).name == "p4c":  # the driver names its output itself, in a folder it is told
            arguments += ["--target", "bmv2", "--arch", "v1model", "-o", "."]
            config = Path(folder, _NAME).with_suffix(".json")
        else:
            config = Path(folder, "config.json")
            arguments += ["-o", config.name]
        done = _run([compiler, *arguments, _NAME], timeout=timeout, cwd=folder)
        if done.returncode:
            told = done.stderr or done.stdout
            for number, each in enumerate(folders):
                told = told.replace(f"include{number}/", f"{each}/")
            raise _refusal(told, source, file)
        try:
            info = p4i.P4Info.FromString(Path(folder, "p4info.bin").read_bytes())
            return PipelineConfig(info, config.read_bytes())
        except (OSError, DecodeError) as error:
            raise DeviceError(f"{compiler} ended well and left no program: {error}") from None


def _run(command: list[str], *, timeout: float, cwd: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a tool in a session of its own, so that whatever it starts ends with it."""
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise DeviceError(f"{command[0]} does not run: {error.strerror}") from None
    with process:
        try:
            output, errors = process.communicate(timeout=timeout)
        except BaseException as reason:
            os.killpg(process.pid, 9)
            if isinstance(reason, subprocess.TimeoutExpired):
                raise DeviceError(f"{command[0]} was not done within {timeout:g} s and was stopped") from None
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


# p4c's own messages, "prog.p4(7): [--Werror=not-found] error: foo: declaration not found" or "prog.p4(7):syntax
# error, unexpected {", and those of the C preprocessor that it calls, "prog.p4:1:10: fatal error: no such file".
_ERROR = re.compile(
    r"^(?P<file>[^():]+)(?:\((?P<line>\d+)\)|:(?P<row>\d+):(?P<column>\d+)):\s*"
    r"(?:\[--W\w+=[^]]*\] )?(?:(?:fatal )?error: |(?=syntax error))(?P<text>.*)$"
)
_PLACELESS = re.compile(r"^(?:\[--W\w+=[^]]*\] )?(?P<kind>error|warning): (?P<text>.*)$")


def _refusal(output: str, source: str, file: str) -> P4Error:
    """Return the error for what p4c printed: its first error with its place, and the rest as it is."""
    lines = output.splitlines()
    for at, line in enumerate(lines):
        if found := _ERROR.match(line):
            number, ours = int(found["line"] or found["row"]), found["file"] == _NAME
            texts = source.splitlines()
            text = texts[number - 1] if ours and number <= len(texts) else ""
            column, length, rest = int(found["column"] or 1), 1, lines[at + 1 :]
            if len(rest) > 1 and set(rest[1].strip()) == {"^"}:
                column, length = _marked(text, rest[0], rest[1])
                rest = rest[2:]
            place = Place(file if ours else found["file"], number, column, length, text)
            return P4Error(f"p4c: {found['text']}", place=place, hint=_quoted(rest, file))
    placeless = [found for line in lines if (found := _PLACELESS.match(line))]
    for found in sorted(placeless, key=lambda each: each["kind"]):  # errors first
        return P4Error(f"p4c refuses {file}: {found['text']}")
    return P4Error(f"p4c refuses {file}", hint=_quoted(lines, file))


def _marked(text: str, shown: str, carets: str) -> tuple[int, int]:
    """Return the column and length of what p4c marks in a line.

    p4c shows the line as the preprocessor leaves it, with single spaces, and of a long one a part with dots at its
    ends. So what stands before the mark, and in it, is looked for without its spaces.
    """
    start, length = len(carets) - len(carets.lstrip()), len(carets.strip())
    before = "".join(shown[:start].removeprefix("...").split())
    words = "".join(shown[start : start + length].split())
    places = [place for place, letter in enumerate(text) if not letter.isspace()]
    found = "".join(text.split()).find(before + words) if words else -1
    if found < 0:
        return 1, 1
    first, last = places[found + len(before)], places[found + len(before + words) - 1]
    return first + 1, last - first + 1


# What says nothing: the closing remarks of p4c and the preprocessor, and the latter's picture of the line.
_REMARK = re.compile(r"--Werror=overlimit|--Werror=I/O error|^compilation terminated|^\s*\d*\s*\|")


def _quoted(lines: list[str], file: str, most: int = 12) -> str:
    told = [line.replace(_NAME, file) for line in lines if line.strip() and not _REMARK.search(line)]
    return "\n    ".join(["p4c says more:", *told[:most]]) if told else ""


def _last_lines(text: str, count: int) -> str:
    return "\n    ".join(text.strip().splitlines()[-count:])
