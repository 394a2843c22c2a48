"""Output files are checked before the work that makes their content."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click
import pytest

from midflight.cli.root import MODULES
from tests.cli.run import listing, midflight

OUTPUTS = [
    (("conformance", "--device", "host"), "--json"),
    (("conformance", "--device", "host"), "--junit"),
    (("conformance", "--device", "host"), "--html"),
    (("conformance", "--device", "host"), "--column"),
    (("conformance", "--device", "host"), "--keep"),
    (("adversary",), "--json"),
    (("fuzz",), "--json"),
    (("fuzz",), "-o"),
    (("demo", "allreduce"), "--json"),
    (("demo", "allreduce"), "--picture"),
    (("demo", "failover"), "--json"),
    (("demo", "queues"), "--json"),
    (("demo", "queues"), "--picture"),
    (("steer", "factory"), "--json"),
    (("steer", "factory"), "--html"),
    (("stf", "."), "--json"),
    (("stf", "."), "--junit"),
    (("run", "prog.p4", "--pcap", "in.pcap"), "--json"),
    (("run", "prog.p4", "--pcap", "in.pcap"), "-o"),
    (("compile", "Aggregate"), "-o"),
    (("fit", "Aggregate", "--device", "tofino"), "--json"),
    (("fit", "Aggregate", "--device", "tofino"), "--picture"),
    (("place", "app.yaml", "--topology", "net.yaml"), "--json"),
    (("place", "app.yaml", "--topology", "net.yaml"), "--picture"),
    (("net", "pyproject.toml"), "--picture"),
    (("admit", "gradients"), "--tickets"),
]


def command(*words: str) -> click.Command:
    """Return the command that words on the command line name."""
    found: click.Command = getattr(import_module(MODULES[words[0]]), words[0])
    for word in words[1:]:
        if isinstance(found, click.Group):
            found = found.commands[word]
    return found


def every_output() -> list[tuple[tuple[str, ...], str]]:
    bench = command("bench")
    assert isinstance(bench, click.Group)
    return [*OUTPUTS, *((("bench", name), "--json") for name in sorted(bench.commands))]


@pytest.mark.parametrize(
    ("words", "option"), every_output(), ids=lambda each: each if isinstance(each, str) else " ".join(each)
)
def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    words: tuple[str, ...], option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[object] = []
    monkeypatch.setattr(command(*words), "callback", lambda **options: began.append(options))
    (tmp_path / "file").touch()
    result = midflight(*words, option, tmp_path / "file" / "sub" / "out")
    assert (result.exit_code, began) == (1, []), result.output
    assert "Not a directory" in result.stderr
    assert "Traceback" not in result.output
    assert midflight(*words, option, tmp_path / "new" / "out").exit_code == 0, "what can be written is accepted"
    assert began
    assert listing(tmp_path) == {"file": ""}
    assert not (tmp_path / "new").exists()


def test_every_option_for_an_output_file_is_checked() -> None:
    tested = {(command(*words).name, option) for words, option in every_output()}
    wanted = set()

    def collect(each: click.Command) -> None:
        for option in each.params:
            names = {"--json", "--junit", "--picture", "--html", "--column"} & {*option.opts}
            if names and isinstance(option, click.Option) and not option.is_flag:
                wanted.add((each.name, names.pop()))
        for inner in each.commands.values() if isinstance(each, click.Group) else ():
            collect(inner)

    for name in MODULES:
        collect(command(name))
    assert wanted <= tested
