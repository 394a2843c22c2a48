"""Structure of the code: the order of imports, the size of modules, and the links in the repository root."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "midflight"

# The layers from top to bottom. A module imports from its own layer or from a lower one.
FLOORS = [
    "midflight.cli",
    "midflight.testbed",
    "midflight.runtime.controller",
    "midflight.runtime.endpoint",
    "midflight.runtime.steering",
    "midflight.runtime.placement",
    "midflight.runtime.devices",
    "midflight.runtime.p4runtime",
    "midflight.runtime.checked",
    "midflight.runtime.engine",
    "midflight.runtime",
    "midflight.primitives",
    "midflight.p4",
    "midflight.p4src",
    "midflight",
]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(module: str) -> Iterator[tuple[str, int]]:
    """Yield every Midflight module that a module imports, at module level or in functions, with the line."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names if alias.name.startswith("midflight"))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("midflight"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner if inner in MODULES else node.module), node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"{module}:{node.lineno}: write the import in full, from midflight")


def floor_of(module: str) -> int:
    for number, floor in enumerate(FLOORS):
        if module == floor or module.startswith(floor + "."):
            return number
    raise AssertionError(f"{module} stands on no floor")


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    if module == "midflight.__main__":
        return
    for target, line in imports_of(module):
        assert floor_of(target) >= floor_of(module), f"{module}:{line} reaches up to {target}"


def test_imports_have_no_cycles() -> None:
    graph = {module: {target for target, _ in imports_of(module)} - {module} for module in MODULES}
    finished: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module not in finished:
            for target in sorted(graph.get(module, ())):
                visit(target, (*trail, module))
            finished.add(module)

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize("module", MODULES)
def test_a_module_has_at_most_500_lines(module: str) -> None:
    lines = len(MODULES[module].read_text().splitlines())
    assert lines <= 500, f"{module} has {lines} lines: split it"


@pytest.mark.parametrize("name", ["p4src", "primitives", "runtime", "testbed"])
def test_the_links_in_the_repository_root_refer_to_the_package(name: str) -> None:
    link = ROOT / name
    assert link.is_symlink()
    assert link.resolve() == PACKAGE / name
