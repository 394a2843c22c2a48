"""No code iterates over a set, whose order depends on the process's hash seed: a run must depend only on its own seed.

The check recognises sets by literals, calls, operators, annotations and assignments. It takes the types of attributes
of `self` from their class. Other attributes and functions count as sets if all of that name in the package are sets.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.trees import tree_of

PACKAGE = Path(__file__).parents[2] / "midflight"
TYPES = {"set", "frozenset", "Set", "AbstractSet", "MutableSet", "WeakSet"}
MAPPINGS = {"dict", "Mapping", "MutableMapping", "defaultdict"}
COMBINED = {"union", "intersection", "difference", "symmetric_difference", "copy"}
# The results of these do not depend on the order of their arguments, except for `min` and `max` with a key and ties.
ORDERLESS = {"all", "any", "bool", "frozenset", "isinstance", "len", "max", "min", "set", "sorted", "sum"}
KEYED = {"max", "min", "sorted"}
# Methods with these names do not depend on the order of their argument.
ORDERLESS_METHODS = {
    "difference_update",
    "intersection_update",
    "isdisjoint",
    "issubset",
    "issuperset",
    "symmetric_difference_update",
    "update",
    *COMBINED,
}
ORDERED = {
    "chain", "deque", "enumerate", "extend", "filter", "from_iterable", "fromkeys", "iter", "join", "list", "map",
    "next", "product", "reversed", "tuple", "zip",
}  # fmt: skip
SET, OF_SETS = "set", "mapping of sets"


def last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value):
            return last_name(value)
    return ""


class Package:
    """The types of attributes, functions and type aliases in all modules, by name."""

    def __init__(self, trees: list[ast.Module]) -> None:
        self.aliases: set[str] = set()
        self.kinds: dict[str, set[str | None]] = defaultdict(set)
        for tree in trees:
            for node in tree.body:
                match node:
                    case ast.AnnAssign(target=ast.Name(id=name), annotation=ast.Name(id="TypeAlias"), value=ast.expr()):
                        if self.annotated(node.value) == SET:
                            self.aliases.add(name)
                    case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript()):
                        if self.annotated(node.value) == SET:
                            self.aliases.add(name)
        everything = [node for tree in trees for node in ast.walk(tree)]
        for part in everything:
            match part:
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    self.kinds[part.name].add(self.annotated(part.returns))
                case ast.ClassDef(body=body):
                    for each in body:
                        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                            self.kinds[each.target.id].add(self.annotated(each.annotation))
                case ast.AnnAssign(target=ast.Attribute(attr=name), annotation=annotation):
                    self.kinds[name].add(self.annotated(annotation))
        annotated = {*self.kinds}
        for tree in trees:
            module = Module(self, tree)
            for part in ast.walk(tree):
                match part:
                    case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)], value=value):
                        if name not in annotated:
                            self.kinds[name].add(module.kind(value))

    def annotated(self, annotation: ast.expr | None) -> str | None:
        """Return the kind that an annotation declares."""
        match annotation:
            case ast.Constant(value=str(text)):
                return self.annotated(ast.parse(text, mode="eval").body)
            case ast.BinOp(left=left, right=right):
                return self.annotated(left) or self.annotated(right)
            case ast.Subscript(value=value, slice=ast.Tuple(elts=[_, inner])) if last_name(value) in MAPPINGS:
                return OF_SETS if self.annotated(inner) == SET else None
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return SET if last_name(annotation) in TYPES | self.aliases else None
        return None

    def named(self, name: str) -> str | None:
        """Return the kind of everything with this name, or None if kinds differ."""
        kinds = self.kinds.get(name, set())
        return next(iter(kinds)) if len(kinds) == 1 else None


class Module:
    """Finds the places in a module that iterate over a set."""

    def __init__(self, package: Package, tree: ast.Module) -> None:
        self.package = package
        self.tree = tree
        self.parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        self.locals: dict[ast.AST, dict[str, str | None]] = defaultdict(dict)
        self.own: dict[ast.AST, dict[str, list[str | None]]] = defaultdict(lambda: defaultdict(list))
        for node in ast.walk(tree):
            match node:
                case ast.arg(arg=name, annotation=annotation):
                    self.locals[self.parents[self.parents[node]]][name] = package.annotated(annotation)
                case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                    self.locals[self.scope(node)][name] = package.annotated(annotation)
        for node in ast.walk(tree):
            match node:
                case ast.Assign(targets=targets, value=value):
                    for target in targets:
                        self.bind(target, value)
                case ast.NamedExpr(target=target, value=value):
                    self.bind(target, value)
                case ast.For(target=target, iter=each) | ast.comprehension(target=target, iter=each):
                    self.bind_each(target, each)
                case ast.AnnAssign(target=ast.Attribute(value=ast.Name(id="self"), attr=name), annotation=annotation):
                    self.own[self.class_of(node)][name].insert(0, package.annotated(annotation))

    def bind(self, target: ast.expr, value: ast.expr) -> None:
        match target, value:
            case ast.Attribute(value=ast.Name(id="self"), attr=name), _:
                kind = self.kind(value)
                self.own[self.class_of(target)][name].append(kind)
            case ast.Name(id=name), _:
                known = self.locals[self.scope(target)]
                known[name] = known.get(name) or self.kind(value)
            case ast.Tuple(elts=targets), ast.Tuple(elts=values) if len(targets) == len(values):
                for each, part in zip(targets, values, strict=True):
                    self.bind(each, part)

    def bind_each(self, target: ast.expr, iterated: ast.expr) -> None:
        """Bind the target of a loop over a mapping of sets."""
        match iterated:
            case ast.Call(func=ast.Attribute(value=mapping, attr="values" | "items" as which)):
                if self.kind(mapping) == OF_SETS:
                    if which == "items" and isinstance(target, ast.Tuple):
                        target = target.elts[-1]
                    if isinstance(target, ast.Name):
                        self.locals[self.scope(target)][target.id] = SET

    def scope(self, node: ast.AST) -> ast.AST:
        while not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.Module)):
            node = self.parents[node]
        return node

    def class_of(self, node: ast.AST) -> ast.AST:
        while not isinstance(node, (ast.ClassDef, ast.Module)):
            node = self.parents[node]
        return node

    def variable(self, node: ast.Name) -> str | None:
        scope = self.scope(node)
        while node.id not in self.locals[scope] and not isinstance(scope, ast.Module):
            scope = self.scope(self.parents[scope])
        return self.locals[scope].get(node.id)

    def kind(self, node: ast.expr) -> str | None:
        """Return whether an expression is a set, or a mapping of sets."""
        match node:
            case ast.Set() | ast.SetComp():
                return SET
            case ast.Name():
                return self.variable(node)
            case ast.Attribute(value=ast.Name(id="self"), attr=name) if self.own[self.class_of(node)].get(name):
                return self.own[self.class_of(node)][name][0]
            case ast.Attribute(attr=name):
                return self.package.named(name)
            case ast.NamedExpr(value=value) | ast.Await(value=value):
                return self.kind(value)
            case ast.IfExp(body=yes, orelse=no):
                return self.kind(yes) or self.kind(no)
            case ast.BoolOp(values=values):
                return next((kind for each in values if (kind := self.kind(each))), None)
            case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() | ast.BitXor() | ast.Sub(), right=right):
                return SET if any(self.kind(each) == SET or is_keys(each) for each in (left, right)) else None
            case ast.Subscript(value=value) if self.kind(value) == OF_SETS:
                return SET
            case ast.Call(func=func):
                return self.called(func)
        return None

    def called(self, func: ast.expr) -> str | None:
        match func:
            case ast.Name(id=name) | ast.Subscript(value=ast.Name(id=name)):
                return SET if name in {"set", "frozenset"} else self.package.named(name)
            case ast.Attribute(value=value, attr="pop" | "get" | "setdefault") if self.kind(value) == OF_SETS:
                return SET
            case ast.Attribute(value=value, attr=name):
                return SET if name in COMBINED and self.kind(value) == SET else self.package.named(name)
        return None

    def is_set(self, node: ast.expr) -> bool:
        return self.kind(node) == SET

    def found(self) -> Iterator[int]:
        """Yield the lines whose result depends on the order of a set."""
        for node in ast.walk(self.tree):
            match node:
                case ast.For(iter=each) | ast.YieldFrom(value=each):
                    wrong = self.is_set(each)
                case ast.ListComp(generators=parts) | ast.DictComp(generators=parts):
                    wrong = any(self.is_set(each.iter) for each in parts)
                case ast.GeneratorExp(generators=parts):
                    wrong = any(self.is_set(each.iter) for each in parts) and not self.orderless(node)
                case ast.Starred(value=each):
                    wrong = (
                        self.is_set(each) and not isinstance(self.parents[node], ast.Set) and not self.combines(node)
                    )
                case ast.Assign(targets=[ast.Tuple() | ast.List()], value=each):
                    wrong = self.is_set(each)
                case ast.Call(func=ast.Attribute(value=each, attr="pop"), args=[]):
                    wrong = self.is_set(each)
                case ast.Call(func=func, args=arguments):
                    keyed = last_name(func) in KEYED and any(each.arg == "key" for each in node.keywords)
                    given = arguments[:1] if last_name(func) == "next" else arguments  # without the default
                    wrong = (keyed or last_name(func) in ORDERED) and any(map(self.is_set, given))
                case ast.FormattedValue(value=each):
                    wrong = self.is_set(each)
                case _:
                    continue
            if wrong:
                yield node.lineno

    def orderless(self, node: ast.expr) -> bool:
        """Return whether a generator is the argument of a call that does not depend on the order."""
        parent = self.parents[node]
        if isinstance(parent, ast.Starred):
            return self.combines(parent)
        if not isinstance(parent, ast.Call):
            return False
        name = last_name(parent.func)
        if isinstance(parent.func, ast.Attribute):
            return name in ORDERLESS_METHODS and self.is_set(parent.func.value)
        return name in ORDERLESS and not (name in KEYED and any(each.arg == "key" for each in parent.keywords))

    def combines(self, node: ast.expr) -> bool:
        """Return whether starred arguments belong to a method of sets that takes several sets."""
        parent = self.parents[node]
        return (
            isinstance(parent, ast.Call)
            and isinstance(parent.func, ast.Attribute)
            and parent.func.attr in ORDERLESS_METHODS
            and self.is_set(parent.func.value)
        )


def is_keys(node: ast.expr) -> bool:
    """Return whether an expression is a view of keys, which operators turn into a set."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"keys", "items"}


def found_in(source: str) -> list[int]:
    tree = ast.parse(source)
    return sorted(Module(Package([tree]), tree).found())


def test_nothing_iterates_over_a_set() -> None:
    trees = {path: tree_of(path) for path in sorted(PACKAGE.rglob("*.py"))}
    package = Package([*trees.values()])
    found = [f"{path}:{line}" for path, tree in trees.items() for line in sorted(Module(package, tree).found())]
    assert not found, f"use sorted(), or dict.fromkeys() for a set with an order: {', '.join(found)}"


@pytest.mark.parametrize(
    "source",
    [
        "for each in {1, 2}: pass",
        "def f(names: set[str]):\n for each in names: pass",
        "def f(names: 'frozenset[str] | None'):\n return [each for each in names or ()]",
        "def f(a, b):\n for each in a.keys() & b.keys(): pass",
        "def f(a, b):\n for each in {*a} & {*b}: pass",
        "x = set()\nprint(*x)",
        "x = {each for each in y}\nz = list(x)",
        "', '.join({'a', 'b'})",
        "', '.join(each.upper() for each in {'a', 'b'})",
        "sorted({'a', 'b'}, key=len)",
        "min((each for each in {'a', 'b'}), key=len)",
        "x = {'a', 'b'}\nx.pop()",
        "a, b = {'a', 'b'}",
        "f'{set(x)}'",
        "class A:\n def __init__(self):\n  self.held: dict[int, set[str]] = {}\n def f(self):\n"
        "  for each in self.held.pop(3, ()): pass",
        "def f(held: dict[int, set[str]]):\n for names in held.values():\n  print([*names])",
        "class A:\n def __init__(self):\n  self.names = frozenset(x)\n def f(self):\n  yield from self.names",
        "def names() -> set[str]: ...\ntuple(names())",
        "Names = frozenset[str]\ndef f(names: Names):\n return {each: 1 for each in names}",
        "dict.fromkeys({'a', 'b'})",
        "for each in {'a'}.union(x): pass",
    ],
)
def test_iteration_over_a_set_is_reported(source: str) -> None:
    assert len(found_in(source)) == 1


@pytest.mark.parametrize(
    "source",
    [
        "for each in sorted({1, 2}): pass",
        "x = {each for each in {1, 2}}",
        "x = any(each for each in {1, 2})",
        "x = frozenset(y for each in {1, 2} for y in each)",
        "x = {*{1, 2}, 3}",
        "x = set().union(*(each for each in {1, 2}))",
        "for each in dict.fromkeys(['b', 'a']): pass",
        "def f(a, b):\n for each in a.keys(): pass\n return a - b",
        "x = min({1, 2})",
    ],
)
def test_iteration_without_dependence_on_the_order_is_not_reported(source: str) -> None:
    assert found_in(source) == []
