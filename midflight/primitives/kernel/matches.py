"""`match` over numbers, turned into a chain of ifs."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from midflight.primitives.kernel.frame import Frame
from midflight.primitives.kernel.source import Source
from midflight.stackless import Walk, run

__all__ = ["turned", "without_matches"]


def without_matches(body: list[ast.stmt], frame: Frame) -> list[ast.stmt]:
    """Turn each `match` of some statements, and of those inside them, which are changed. Inner ones come first."""
    return run(_without(body, frame))


def _without(body: list[ast.stmt], frame: Frame) -> Walk[list[ast.stmt]]:
    done: list[ast.stmt] = []
    for node in body:
        match node:
            case ast.If() | ast.For():
                node.body = yield _without(node.body, frame)
                node.orelse = yield _without(node.orelse, frame)
                done.append(node)
            case ast.Match(cases=cases):
                for case in cases:
                    case.body = yield _without(case.body, frame)
                done += turned(node, frame)
            case _:
                done.append(node)
    return done


def turned(node: ast.Match, frame: Frame, others: Iterable[str] = ()) -> list[ast.stmt]:
    """Return a `match` as an `if` with its `elif`s; what it is about is computed once, into variables before.

    None of these is called as one of `others`. Raises KernelError for patterns other than numbers, `|` and `_`.
    """
    before: list[ast.stmt] = []

    def once(part: ast.expr) -> ast.expr:
        if is_plain(part):
            return part
        name = frame.fresh("matched", others)
        target = ast.copy_location(ast.Name(name, ast.Store()), part)
        before.append(ast.copy_location(ast.Assign([target], part), part))
        return ast.copy_location(ast.Name(name, ast.Load()), part)

    subject = node.subject
    if isinstance(subject, ast.Tuple):
        subject = ast.copy_location(ast.Tuple([once(each) for each in subject.elts], ast.Load()), subject)
    else:
        subject = once(subject)
    done: list[ast.stmt] = []
    for case in reversed(node.cases):
        test = _test(case.pattern, subject, frame.source)
        if case.guard is not None:
            both = ast.BoolOp(ast.And(), [case.guard] if test is None else [test, case.guard])
            test = ast.copy_location(both, case.guard)
        done = case.body if test is None else [ast.copy_location(ast.If(test, case.body, done), case.pattern)]
    return [*before, *done]


def is_plain(subject: ast.expr) -> bool:
    """Tell whether an expression may be written several times: a name, a field, a lane, or a tuple of such."""
    if isinstance(subject, ast.Tuple):
        return all(is_plain(each) for each in subject.elts)
    while isinstance(subject, (ast.Attribute, ast.Subscript)):
        subject = subject.value
    return isinstance(subject, ast.Name)


def _test(pattern: ast.pattern, subject: ast.expr, source: Source) -> ast.expr | None:
    """Return the condition under which a pattern matches; None for always. Python bounds how deep patterns are."""
    match pattern:
        case ast.MatchValue(value=value):
            made: ast.expr = ast.Compare(subject, [ast.Eq()], [value])
        case ast.MatchOr(patterns=patterns):
            tests = [_test(each, subject, source) for each in patterns]
            if None in tests:
                return None
            made = ast.BoolOp(ast.Or(), [each for each in tests if each is not None])
        case ast.MatchAs(pattern=None, name=None):
            return None
        case ast.MatchSequence(patterns=patterns) if len(patterns) == len(_parts(subject)):
            pairs = zip(patterns, _parts(subject), strict=True)
            wanted = [test for test in (_test(each, part, source) for each, part in pairs) if test is not None]
            if len(wanted) < 2:
                return wanted[0] if wanted else None
            made = ast.BoolOp(ast.And(), wanted)
        case ast.MatchAs(name=str(name)):
            raise source.error(pattern, f"this would name the number `{name}`", "write `_` for all others")
        case _:
            raise source.error(pattern, "a `match` compares numbers", "write `case 1:`, `case 2 | 3:` and `case _:`")
    return ast.copy_location(made, pattern)


def _parts(subject: ast.expr) -> list[ast.expr]:
    return subject.elts if isinstance(subject, ast.Tuple) else []
