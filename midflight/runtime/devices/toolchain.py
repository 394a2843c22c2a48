"""p4lang's compiler and switch on this machine: their paths and versions, and compilation for BMv2."""

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
from midflight.runtime.devices.folders import owned_prefix

__all__ = ["P4C", "SIMPLE_SWITCH_GRPC", "Tool", "compile_p4"]

# The default timeout of the compiler in seconds. It takes about one second for a program with hundreds of lines.
PATIENCE = 120.0
# The name of the program's file for the compiler.
_NAME = "program.p4"


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool of p4lang: its possible names, the environment variable with its path, and what has it: the Debian
    package and the container image.
    """

    names: tuple[str, ...]
    variable: str
    package: str
    image: str

    def find(self) -> str:
        """Return the tool's path: the one in the environment variable, or else the first of its names on PATH.

        DeviceError if it is not found, with a hint what to install.
        """
        chosen = os.environ.get(self.variable)
        for name in [chosen] if chosen else self.names:
            if path := shutil.which(name):
                return path
        if chosen:
            raise DeviceError(
                f"{self.variable} is {chosen}, which cannot be executed",
                hint=f"set it to the path of {' or '.join(self.names)}, or unset it to search PATH",
            )
        raise DeviceError(
            f"{' or '.join(self.names)} is required, but not on PATH",
            hint=f"install p4lang's Debian or Ubuntu package {self.package}, take it from the container image "
            f"{self.image}, or set {self.variable} to its path",
        )

    @property
    def missing(self) -> str:
        """Why the tool is not available, in one line; empty if it is."""
        try:
            self.find()
        except DeviceError as error:
            return error.message
        return ""

    def version(self) -> str:
        """Return the tool's version, such as "1.2.5.16". Raises DeviceError if it is missing or cannot be run."""
        done = _run([self.find(), "--version"], timeout=30.0)
        found = re.search(r"\d+(?:\.\d+)+\S*", done.stdout + done.stderr)
        if done.returncode or not found:
            raise DeviceError(
                f"{self.find()} does not print its version", hint=_last_lines(done.stderr or done.stdout, 5)
            )
        return found[0]


P4C = Tool(("p4c-bm2-ss", "p4c"), "MIDFLIGHT_P4C", "p4lang-p4c", "p4lang/p4c")
"""p4lang's P4 compiler: its back end for BMv2's simple_switch, or the driver that calls the back end."""

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
    """Compile a P4_16 program for BMv2. The config is BMv2's JSON.

    file: the program's name in messages; included files are searched in its folder and then in `include_dirs`
    defines: macros of the preprocessor
    timeout: of the compiler, in seconds

    Raises P4Error with p4c's messages for an invalid program, and DeviceError if p4c is missing or times out. Warnings
    are dropped.
    """
    compiler = P4C.find()
    folders = [*([Path(file).parent] if Path(file).is_file() else []), *include_dirs]
    with tempfile.TemporaryDirectory(prefix=owned_prefix("compile")) as folder:
        Path(folder, _NAME).write_text(source)
        arguments = ["--std", "p4-16", "--p4runtime-files", "p4info.bin"]
        # p4c passes these to a shell without quoting. So folders get plain names, and values are quoted here.
        for number, each in enumerate(folders):
            Path(folder, f"include{number}").symlink_to(Path(each).absolute())
            arguments += ["-I", f"include{number}"]
        for macro, value in (defines or {}).items():
            arguments.append("-D" + shlex.quote(f"{macro}={value}"))
        if Path(compiler).name == "p4c":  # the driver takes the output's folder and chooses the file's name itself
            arguments += ["--target", "bmv2", "--arch", "v1model", "-o", "."]
            config = Path(folder, _NAME).with_suffix(".json")
        else:
            config = Path(folder, "config.json")
            arguments += ["-o", config.name]
        done = _run([compiler, *arguments, _NAME], timeout=timeout, cwd=folder)
        if done.returncode:
            output = done.stderr or done.stdout
            for number, each in enumerate(folders):
                output = output.replace(f"include{number}/", f"{each}/")
            raise _refusal(output, source, file)
        try:
            info = p4i.P4Info.FromString(Path(folder, "p4info.bin").read_bytes())
            return PipelineConfig(info, config.read_bytes())
        except (OSError, DecodeError) as error:
            raise DeviceError(f"{compiler} succeeded, but wrote no program: {error}") from None


def _run(command: list[str], *, timeout: float, cwd: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a tool in a session of its own, so that its child processes end with it."""
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
        raise DeviceError(f"cannot run {command[0]}: {error.strerror}") from None
    with process:
        try:
            output, errors = process.communicate(timeout=timeout)
        except BaseException as reason:
            os.killpg(process.pid, 9)
            if isinstance(reason, subprocess.TimeoutExpired):
                raise DeviceError(f"{command[0]} took more than {timeout:g} s and was stopped") from None
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


# p4c's own messages, "prog.p4(7): [--Werror=not-found] error: foo: declaration not found" or "prog.p4(7):syntax
# error, unexpected {", and those of the C preprocessor that it calls, "prog.p4:1:10: fatal error: no such file".
_ERROR = re.compile(
    r"^(?P<file>[^():]+)(?:\((?P<line>\d+)\)|:(?P<row>\d+):(?P<column>\d+)):\s*"
    r"(?:\[--W\w+=[^]]*\] )?(?:(?:fatal )?error: |(?=syntax error))(?P<text>.*)$"
)
_PLACELESS = re.compile(r"^(?:\[--W\w+=[^]]*\] )?(?P<kind>Compiler Bug|error|warning): (?P<text>.*)$")


def _refusal(output: str, source: str, file: str) -> P4Error:
    """Return an error for p4c's output: its first error with its place, and the rest unchanged."""
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
    for found in sorted(placeless, key=lambda each: each["kind"]):  # bugs, then errors
        return P4Error(f"p4c refuses {file}: {found['text']}")
    return P4Error(f"p4c refuses {file}", hint=_quoted(lines, file))


def _marked(text: str, shown: str, carets: str) -> tuple[int, int]:
    """Return the column and length of the part of a line that p4c marks.

    p4c shows the preprocessor's output, with single spaces, and only a part of a long line, with dots at its ends. So
    the text before the mark and in it is searched without spaces.
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


# Uninformative lines: the closing remarks of p4c and the preprocessor, and the preprocessor's quotation of the line.
_REMARK = re.compile(r"--Werror=overlimit|--Werror=I/O error|^compilation terminated|^\s*\d*\s*\|")


def _quoted(lines: list[str], file: str, most: int = 12) -> str:
    rest = [line.replace(_NAME, file) for line in lines if line.strip() and not _REMARK.search(line)]
    return "\n    ".join(["p4c also reports:", *rest[:most]]) if rest else ""


def _last_lines(text: str, count: int) -> str:
    return "\n    ".join(text.strip().splitlines()[-count:])
