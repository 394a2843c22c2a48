"""Docstrings of public functions mention the errors that they raise. That there are docstrings, ruff checks (D1)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.trees import tree_of

ROOT = Path(__file__).parents[2]

EXEMPT = "midflight/cli/"  # the docstring of a command is its help text; every error ends it with exit status 1

Function = ast.FunctionDef | ast.AsyncFunctionDef


def errors(trees: dict[Path, ast.Module]) -> dict[str, set[str]]:
    """Return the package's own errors by name, each with the names of its ancestors and itself."""
    bases: dict[str, set[str]] = {"MidflightError": set()}
    classes = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for _ in classes:  # until the deepest hierarchy is known
        known = len(bases)
        for each in classes:
            names = {base.id for base in each.bases if isinstance(base, ast.Name)}
            if names & bases.keys():
                bases[each.name] = names & bases.keys()
        if len(bases) == known:
            break
    found: dict[str, set[str]] = {}
    for name in bases:
        ancestors, waiting = {name}, [name]
        while waiting:
            for ancestor in sorted(bases[waiting.pop()] - ancestors):
                ancestors.add(ancestor)
                waiting.append(ancestor)
        found[name] = ancestors
    return found


def raised(function: Function) -> Iterator[tuple[int, str]]:
    """Yield the exceptions that a function's own body raises by a call of their class, with their lines.

    An exception that the body also catches by this name is left out.
    """
    waiting: list[tuple[ast.AST, frozenset[str]]] = [(each, frozenset()) for each in function.body]
    while waiting:
        node, caught = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            continue
        match node:
            case ast.Raise(exc=ast.Call(func=ast.Name(id=name))) if name not in caught:
                yield node.lineno, name
        if isinstance(node, ast.Try):
            names = {each.type.id for each in node.handlers if isinstance(each.type, ast.Name)}
            waiting += [(each, caught | names) for each in node.body]
            waiting += [(each, caught) for each in (*node.handlers, *node.orelse, *node.finalbody)]
        else:
            waiting += [(each, caught) for each in ast.iter_child_nodes(node)]


def public(tree: ast.Module) -> Iterator[tuple[str, Function, str]]:
    """Yield the public functions and methods of a module, with their names and the docstrings that describe them.

    A class's docstring also describes its constructor, and methods without a docstring.
    """
    exported = None
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(it, ast.Name) and it.id == "__all__" for it in node.targets):
            exported = {each.value for each in ast.walk(node.value) if isinstance(each, ast.Constant)}
    for node in tree.body:
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        if node.name.startswith("_") if exported is None else node.name not in exported:
            continue
        if not isinstance(node, ast.ClassDef):
            yield node.name, node, ast.get_docstring(node) or ""
            continue
        for each in node.body:
            if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)):
                own, constructs = ast.get_docstring(each) or "", each.name in ("__init__", "__post_init__", "__new__")
                if constructs or not each.name.startswith("_"):
                    text = own + (ast.get_docstring(node) or "") if constructs or not own else own
                    yield f"{node.name}.{each.name}", each, text


def gaps(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield each error of a public function that its docstring does not mention, with its file."""
    trees = {path: tree_of(path) for path in sorted(root.rglob("*.py"))}
    known = errors(trees)
    for path, tree in trees.items():
        for name, function, text in public(tree):
            for line, error in raised(function):
                if error in known and "Raises" not in text and not any(each in text for each in known[error]):
                    yield path, f"{path.relative_to(root.parent)}:{line}: {name} raises {error}: say when"


def test_docstrings_mention_the_errors_of_functions() -> None:
    found = [gap for path, gap in gaps(ROOT / "midflight") if EXEMPT not in path.as_posix()]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("body", "gap"),
    [
        ('def f():\n    """Do it."""\n    raise OwnError("no")\n', True),
        ('def f():\n    """Do it. OwnError if not."""\n    raise OwnError("no")\n', False),
        ('def f():\n    """Do it. MidflightError if not."""\n    raise OwnError("no")\n', False),
        ('def f():\n    """Do it. Raises as `g` does."""\n    raise OwnError("no")\n', False),
        ('def _f():\n    """Do it."""\n    raise OwnError("no")\n', False),
        ('def f():\n    """Do it."""\n    raise ValueError("no")\n', False),
        ('def f():\n    """Do it."""\n    def g():\n        raise OwnError("no")\n    g()\n', False),
        (
            'def f():\n    """Do it."""\n    try:\n        raise OwnError("no")\n    except OwnError:\n        pass\n',
            False,
        ),
        (
            'def f():\n    """Do it."""\n    try:\n        g()\n    except KeyError:\n        raise OwnError("no")\n',
            True,
        ),
        ('class A:\n    """An A."""\n    def __init__(self):\n        raise OwnError("no")\n', True),
        ('class A:\n    """An A. OwnError if not."""\n    def __init__(self):\n        raise OwnError("no")\n', False),
        ('__all__ = []\ndef f():\n    """Do it."""\n    raise OwnError("no")\n', False),
    ],
)
def test_the_check_finds_gaps(tmp_path: Path, body: str, gap: bool) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "errors.py").write_text("class OwnError(MidflightError):\n    pass\n")
    (package / "module.py").write_text(body)
    assert bool([*gaps(package)]) == gap
