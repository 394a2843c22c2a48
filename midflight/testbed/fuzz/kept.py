"""Cases in folders, in the forms that `midflight stf` and `midflight run` play."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from midflight.runtime.engine.ports.pcap import PcapWriter
from midflight.testbed.fuzz.play import ENTRIES, PROGRAM, Finding
from midflight.testbed.fuzz.program import Case
from midflight.userfiles import failed

__all__ = ["keep"]

TEST = "program.stf"


def keep(folder: Path, case: Case, original: Case, finding: Finding, device: str, seed: int) -> Path:
    """Write a case with a finding to a folder, and return the folder. An earlier folder of this name is replaced.

    `original` is the case as it was generated, and `device` what the embedded switch was compared with. MidflightError
    if a file cannot be written; an earlier folder then remains.
    """
    captures = [f"{port}:in{port}.pcap" for port in sorted({port for port, _ in case.packets})]
    files = {
        PROGRAM: _tidy(str(case.program)),
        ENTRIES: str(case.commands),
        TEST: _test(case, finding),
        "original.p4": str(original.program),
        "finding.txt": "\n".join(
            (
                f"seed {seed}, {finding.kind}, compared with {device}",
                "",
                finding.text,
                "",
                "Repeat in this folder:",
                f"  midflight stf {PROGRAM} {TEST}",
                f"  midflight stf {PROGRAM} {TEST} --device bmv2",
                f'  midflight run {PROGRAM} --entries {ENTRIES} --pcap "{" ".join(captures)}" --trace',
                f"  midflight fuzz --programs 1 --seed {seed} --device {device}",
                "",
            )
        ),
    }
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.", ignore_cleanup_errors=True) as part:
            made = Path(part) / "made"
            made.mkdir()
            for name, text in files.items():
                (made / name).write_text(text, encoding="utf-8")
            for port in sorted({port for port, _ in case.packets}):
                with PcapWriter(folder / f"in{port}.pcap", made / f"in{port}.pcap") as file:
                    for number, (arrived, data) in enumerate(case.packets):
                        if arrived == port:
                            file.write(number * 1_000_000, data)
            if folder.exists():
                folder.rename(Path(part) / "before")
            made.rename(folder)
    except OSError as error:
        raise failed(error, folder) from None
    return folder


def _tidy(text: str) -> str:
    """Return a program without empty lines, and with blocks indented."""
    lines, depth = [], 0
    for line in filter(None, (each.strip() for each in text.splitlines())):
        depth -= line.startswith("}")
        lines.append("    " * max(0, depth) + line)
        depth += line.count("{") - line.count("}") + line.startswith("}")
    return "\n".join([*lines, ""])


def _test(case: Case, finding: Finding) -> str:
    """Return an STF test, which expects what the switch that was compared with has sent."""
    lines = str(case.commands).splitlines()
    for number, (port, data) in enumerate(case.packets):
        lines.append(f"packet {port} {data.hex()}")
        if finding.outcome is not None:
            lines += [f"expect {to} {left.hex()}$" for to, left in finding.outcome.sent[number]]
            lines += [] if finding.outcome.sent[number] else ["no_packet"]
    return "\n".join([*lines, ""])
