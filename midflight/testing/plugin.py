"""The pytest plugin: the fixtures `p4_switch` and `midflight_net`, and the option `--midflight-device`.

pytest imports this module in every project of an environment with Midflight, so everything else is imported on use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from midflight.primitives import Program
    from midflight.testbed import Net, Topology
    from midflight.testing.opening import Openings
    from midflight.testing.switch import P4Switch

__all__ = ["midflight_device", "midflight_net", "midflight_openings", "p4_switch"]

_MARKER = "midflight_device(*kinds): run this test on these kinds of devices only, of those that are asked for"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option `--midflight-device`, and the setting `midflight_device` of pytest's configuration file."""
    text = "kinds of devices, separated by commas, on which tests with p4_switch and midflight_net run (default: host)"
    parser.getgroup("midflight").addoption("--midflight-device", metavar="KINDS", help=text)
    parser.addini("midflight_device", text)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker. pytest.UsageError for an unknown kind of device."""
    config.addinivalue_line("markers", _MARKER)
    if asked := _asked(config):
        from midflight.errors import MidflightError
        from midflight.testing.opening import missing

        try:
            for each in asked:
                missing(each)
        except MidflightError as error:
            raise pytest.UsageError(str(error)) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses `midflight_device` once for each kind of device that is asked for."""
    if "midflight_device" in metafunc.fixturenames and (asked := _asked(metafunc.config)):
        metafunc.parametrize("midflight_device", asked, indirect=True)


def _asked(config: pytest.Config) -> list[str]:
    """Return the kinds of devices of the command line, else of the configuration; empty for the default, one test on
    the embedded switch.
    """
    text = config.getoption("--midflight-device") or config.getini("midflight_device") or ""
    return list(dict.fromkeys(text.replace(",", " ").split()))


@pytest.fixture
def midflight_device(request: pytest.FixtureRequest) -> str:
    """The kind of device of the present test: one of those in `--midflight-device`, else in the setting
    `midflight_device`, else "host".

    Skips the test if no such device can be started here, or if the test has a marker `midflight_device` without it.
    """
    kind: str = getattr(request, "param", "host")
    if (only := request.node.get_closest_marker("midflight_device")) is not None and kind not in only.args:
        pytest.skip(f"this test is for {', '.join(only.args)}, not for {kind}")
    _demand(kind)
    return kind


@pytest.fixture(scope="session")
def midflight_openings() -> Openings:
    """The programs that this session has compiled, which all tests share."""
    from midflight.testing.opening import Openings

    return Openings()


@pytest.fixture
def p4_switch(
    request: pytest.FixtureRequest, midflight_device: str, midflight_openings: Openings
) -> Iterator[Callable[..., P4Switch]]:
    """A function that opens a switch with a program, for this test; the end of the test closes it.

        switch = p4_switch("router.p4", entries="s1-runtime.json")

    Its parameters are the program, which is a P4 file or a `Program`; `device`, a kind that is used instead of
    `midflight_device`; `entries`, a file of entries or a list of files; `controller`, as for `P4Switch`; and further
    arguments of the device's class, such as `cpu_port`. Files are searched in the folder of the test, and then in
    pytest's root folder. BMv2 logs every packet, for traces.

    The function skips the test if the device is missing, or if LLVM or the kernel's verifier rejects the program for
    XDP. P4Error for a program that is invalid or that the device refuses for another reason; MidflightError for a file
    that is not there or an entry with a mistake, for `entries` with `controller=False`, and for an unknown kind of
    device; DeviceError if the device does not start or takes no packets.
    """
    from midflight.errors import MidflightError, UnsupportedError
    from midflight.primitives import Program
    from midflight.testing.opening import resolved
    from midflight.testing.switch import P4Switch

    folders = (request.path.parent, request.config.rootpath)

    def find(path: str | Path) -> Path:
        return resolved(path, folders)

    with ExitStack() as opened:

        def open_switch(
            program: str | Path | Program,
            *,
            device: str = midflight_device,
            entries: str | Path | list[str | Path] | None = None,
            controller: bool = True,
            **options: Any,
        ) -> P4Switch:
            __tracebackhide__ = True
            _demand(device)
            if device == "bmv2":
                options.setdefault("log_level", "trace")
            try:
                checked = midflight_openings.program(program if isinstance(program, Program) else find(program))
                started = midflight_openings.open(device, checked, options)
            except UnsupportedError as error:
                pytest.skip(f"{program} does not run on {device}: {error.message}")
            except MidflightError as error:
                raise error.with_traceback(None) from None  # where the compiler found it is of no use here
            switch = opened.enter_context(P4Switch(started, checked, controller=controller, find=find))
            for each in [entries] if isinstance(entries, str | Path) else entries or []:
                switch.entries(each)
            return switch

        yield open_switch


@pytest.fixture
def midflight_net(request: pytest.FixtureRequest, midflight_device: str) -> Iterator[Callable[..., Net]]:
    """A function that opens a network, for this test; the end of the test closes it.

        net = midflight_net("star.yaml", program=program)

    Its first parameter is a `Topology`, a number of hosts around one switch, or a topology file, which is searched as
    the files of `p4_switch` are. Programs and entries in the file are ignored. The other parameters are those of `Net`;
    `device` is by default `midflight_device`. The function skips the test if a device is missing, and raises the errors
    of `Net`, and MidflightError for a mistake in the file.
    """
    from midflight.testbed.net import Net
    from midflight.testbed.topology import star
    from midflight.testbed.topology.file import load_topology
    from midflight.testing.opening import resolved

    folders = (request.path.parent, request.config.rootpath)
    with ExitStack() as opened:

        def open_net(topology: Topology | int | str | Path, *, device: Any = midflight_device, **options: Any) -> Net:
            for each in [device] if isinstance(device, str) else sorted({*device.values()}):
                _demand(each)
            if isinstance(topology, int):
                topology = star(topology)
            elif isinstance(topology, str | Path):
                topology = load_topology(resolved(topology, folders))
            return opened.enter_context(Net(topology, device=device, **options))

        yield open_net


def _demand(kind: str) -> None:
    """Skip the test if no device of this kind can be started here."""
    from midflight.testing.opening import missing

    if reason := missing(kind):
        pytest.skip(f"no {kind} here: {reason}")
