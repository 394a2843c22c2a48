"""The process in which submitted Python runs. It has the submission's files, and nothing of the tests.

    python -I -m midflight.labs.studentchild SECONDS BYTES

The first request names the folder with the submission's files, and packages with native libraries that it uses, which
are imported first. The process then confines itself, imports the submission's module and answers requests to call its
functions, or to compile one of its primitives to P4. `student` is the other end; it trusts no answer.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import sysconfig
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import midflight
from midflight.errors import MidflightError
from midflight.labs.confine import confine, readable_without
from midflight.labs.limits import limit_process
from midflight.labs.values import pack, unpack

__all__ = ["main"]


def main() -> int:
    """Answer requests until standard input ends, and return 0. Arguments are those of the command line above."""
    limit_process(seconds=int(sys.argv[1]), memory=int(sys.argv[2]))
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the submission prints goes to standard error
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    begin = json.loads(requests.readline())
    folder = Path(begin["folder"])
    for each in begin["preload"]:
        importlib.import_module(each)
    applied = confine(_readable(folder))
    _answer(answers, {"ok": applied})
    module: ModuleType | None = None
    made: list[Any] = []
    for line in requests:
        try:
            request = json.loads(line)
            match request["op"]:
                case "import":
                    module = _import(folder, request["name"])
                    result: Any = None
                case "p4":
                    result = _p4(module, request["name"], unpack(request["parameters"]))
                case "new":
                    made.append(getattr(module, request["name"])(*unpack(request["arguments"])))
                    result = len(made) - 1
                case "call":
                    owner = module if request["object"] is None else made[request["object"]]
                    result = getattr(owner, request["name"])(*unpack(request["arguments"]))
            _answer(answers, {"ok": pack(result)})
        except MidflightError as error:
            _answer(answers, {"error": str(error)})
        except BaseException as error:
            _answer(answers, {"error": _told(error, folder)})
    return 0


def _answer(answers: Any, value: Any) -> None:
    answers.write(json.dumps(value).encode() + b"\n")
    answers.flush()


def _told(error: BaseException, folder: Path) -> str:
    """Return an exception with the last place in the submission that it passed."""
    frames = [each for each in traceback.extract_tb(error.__traceback__) if each.filename.startswith(str(folder))]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}: " if frames else ""
    return f"{place}{type(error).__name__}: {error}"


def _readable(folder: Path) -> list[Path]:
    """Return what the submission may read: its own files, Python's and those of packages, but nothing of the labs."""
    paths = sysconfig.get_paths()
    roots = [Path(paths[each]) for each in ("stdlib", "platstdlib", "purelib", "platlib")]
    roots += [Path(sys.base_prefix) / "lib" / Path(paths["stdlib"]).name, Path(midflight.__file__).parent]
    roots += [Path("/etc/ld.so.cache"), Path("/dev/urandom"), Path("/dev/null")]
    unique = [each for number, each in enumerate(roots) if each not in roots[:number]]
    labs = Path(__file__).parent
    return [folder, *readable_without(unique, [labs])]


def _import(folder: Path, name: str) -> ModuleType:
    sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location(name.removesuffix(".py"), folder / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


def _p4(module: ModuleType | None, name: str, parameters: dict[str, Any]) -> str:
    from midflight.primitives import Program

    program = Program(getattr(module, name)(name.lower(), **parameters))
    return program.p4()


if __name__ == "__main__":
    sys.exit(main())
