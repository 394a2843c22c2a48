"""Open p4runtime-shell, or run a script in it: shell_runner.py OPTION... -- [SCRIPT ARGUMENT...]

The interpreter of p4runtime-shell's environment runs this file by its path, so it imports nothing from Midflight. The
options are p4runtime-shell's. SCRIPT is a Python file, or "-" for standard input, and can use the shell's names.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["main"]

_PATIENCE = 3.0  # timeout for the switch's answer, in seconds


def main(options: list[str], script: str, arguments: list[str]) -> NoReturn:
    """Open p4runtime-shell and run `script` in it; never returns.

    `options` are those of the shell, and `arguments` the script's. The exit status is 0, or 1 if the switch does not
    answer or refuses, or the script fails.
    """
    import grpc
    from p4runtime_sh import shell  # type: ignore[import-not-found]

    address = options[options.index("--grpc-addr") + 1]
    with _channel(address, options) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=_PATIENCE)
        except grpc.FutureTimeoutError:
            _leave(f"no switch answers at {address}")
    code = _compile(script) if script else None
    failure = ""

    def run(user_ns: dict[str, Any], **_: object) -> None:
        nonlocal failure
        user_ns.update(__name__="__main__", __file__=script)
        sys.argv = [script, *arguments]
        shell.global_options["verbose"] = False  # assignments print their effect only at the prompt
        try:
            exec(code, user_ns)  # type: ignore[arg-type]
        except SystemExit as error:
            if error.code is not None and error.code != 0:
                failure = f"{script}: exit {error.code}"
        except BaseException as error:
            failure = _explain(error, script)

    if code is not None:
        shell.start_ipython = run
    sys.argv = ["p4runtime-shell", *options]
    try:
        shell.main()
    except SystemExit:  # the shell has printed the reason
        _leave("p4runtime-shell has not opened")
    _leave(failure)


def _channel(address: str, options: list[str]) -> Any:
    """Return a channel as the shell's options open it."""
    import grpc

    if "--ssl" not in options:
        return grpc.insecure_channel(address)
    named = ("--cacert", "--private-key", "--cert")
    files = [Path(options[options.index(each) + 1]).read_bytes() if each in options else None for each in named]
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(*files))


def _compile(script: str) -> Any:
    try:
        if script == "-":
            return compile(sys.stdin.read(), script, "exec")
        with open(script, "rb") as file:  # noqa: PTH123
            return compile(file.read(), script, "exec")
    except SyntaxError as error:
        _leave(f"{script}:{error.lineno}: {error.msg}\n    {(error.text or '').strip()}")
    except OSError as error:
        _leave(f"{script}: {error.strerror}")


def _explain(error: BaseException, script: str) -> str:
    """Return a message for an error, with the line of the script."""
    if os.environ.get("MIDFLIGHT_DEBUG"):
        traceback.print_exception(error)
    place, text = script, ""
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == script:
            place, text = f"{script}:{frame.lineno}", frame.line or ""
    return f"{place}: {type(error).__name__}: {str(error).strip()}\n    {text}".rstrip()


def _leave(failure: str) -> NoReturn:
    """Exit immediately: p4runtime-shell's threads keep the process alive after an unclean end of the session."""
    if failure:
        print(f"midflight: {failure}", file=sys.stderr)  # noqa: T201
    sys.stdout.flush()
    sys.stderr.flush()
    if failure:
        os._exit(1)
    sys.exit(0)


if __name__ == "__main__":
    _split = sys.argv.index("--")
    main(sys.argv[1:_split], sys.argv[_split + 1], sys.argv[_split + 2 :])
