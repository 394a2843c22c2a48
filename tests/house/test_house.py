"""Structure of the code: the order of imports, the size of modules, and the links in the repository root."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.house.trees import tree_of

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "midflight"

# The layers from top to bottom. A module imports from its own layer or from a lower one.
FLOORS = [
    "midflight.cli",
    "midflight.labs",
    "midflight.testing",
    "midflight.testbed",
    "midflight.torch",
    "midflight.collectives",
    "midflight.runtime.controller",
    "midflight.runtime.endpoint",
    "midflight.runtime.steering",
    "midflight.runtime.placement",
    "midflight.runtime.fit",
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


@cache
def imports_of(module: str) -> list[tuple[str, int]]:
    """Return every Midflight module that a module imports, at module level or in functions, with the line."""
    found: list[tuple[str, int]] = []
    for node in ast.walk(tree_of(MODULES[module])):
        if isinstance(node, ast.Import):
            found += [(each.name, node.lineno) for each in node.names if each.name.startswith("midflight")]
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("midflight"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.append((inner if inner in MODULES else node.module, node.lineno))
        elif isinstance(node, ast.ImportFrom) and node.level:
            raise AssertionError(f"{module}:{node.lineno}: write the import in full, from midflight")
    return found


def floor_of(module: str) -> int:
    for number, floor in enumerate(FLOORS):
        if module == floor or module.startswith(floor + "."):
            return number
    raise AssertionError(f"{module} stands on no floor")


def test_imports_point_down() -> None:
    found = [
        f"{module}:{line} reaches up to {target}"
        for module in MODULES
        if module != "midflight.__main__"
        for target, line in imports_of(module)
        if floor_of(target) < floor_of(module)
    ]
    assert not found, "\n".join(found)


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


def test_a_module_has_at_most_500_lines() -> None:
    lines = {module: len(path.read_text().splitlines()) for module, path in MODULES.items()}
    found = [f"{module} has {count} lines: split it" for module, count in lines.items() if count > 500]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", ["p4src", "primitives", "runtime", "testbed"])
def test_the_links_in_the_repository_root_refer_to_the_package(name: str) -> None:
    link = ROOT / name
    assert link.is_symlink()
    assert link.resolve() == PACKAGE / name
