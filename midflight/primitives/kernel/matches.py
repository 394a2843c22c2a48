"""Rewrites Python's `match` over numbers as a chain of `if`s."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from midflight.primitives.kernel.frame import Frame
from midflight.primitives.kernel.source import Source
from midflight.stackless import Walk, run

__all__ = ["lowered_match", "lowered_matches"]


def lowered_matches(body: list[ast.stmt], frame: Frame) -> list[ast.stmt]:
    """Return the statements with every `match` in them, at any depth, rewritten as `if`s.

    Nested statements change in place. New variables get names that are unused in `frame`. Raises KernelError for
    patterns that `lowered_match` does not have.
    """
    return run(_lowered(body, frame))


def _lowered(body: list[ast.stmt], frame: Frame) -> Walk[list[ast.stmt]]:
    done: list[ast.stmt] = []
    for node in body:
        match node:
            case ast.If() | ast.For():
                if _nests(node.body):
                    node.body = yield _lowered(node.body, frame)
                if _nests(node.orelse):
                    node.orelse = yield _lowered(node.orelse, frame)
                done.append(node)
            case ast.Match(cases=cases):
                for case in cases:
                    case.body = yield _lowered(case.body, frame)
                done += lowered_match(node, frame)
            case _:
                done.append(node)
    return done


def _nests(body: list[ast.stmt]) -> bool:
    return any(isinstance(each, ast.If | ast.For | ast.Match) for each in body)


def lowered_match(node: ast.Match, frame: Frame, others: Iterable[str] = ()) -> list[ast.stmt]:
    """Return one `match` as an `if` with `elif`s, after assignments that evaluate the subject once.

    The variables of these assignments get names that are unused in `frame` and not in `others`. Raises KernelError for
    patterns other than numbers, `|`, `_` and, for a tuple as subject, tuples of these.
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
    """Return whether an expression may be evaluated several times: a name, a field, a lane, or a tuple of these."""
    if isinstance(subject, ast.Tuple):
        return all(is_plain(each) for each in subject.elts)
    while isinstance(subject, (ast.Attribute, ast.Subscript)):
        subject = subject.value
    return isinstance(subject, ast.Name)


def _test(pattern: ast.pattern, subject: ast.expr, source: Source) -> ast.expr | None:
    """Return the condition under which a pattern matches; None for always. Python's parser bounds its depth."""
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
            raise source.error(pattern, f"the pattern `{name}` binds a name", "write `_` for all other numbers")
        case _:
            raise source.error(pattern, "a pattern must be a number", "write `case 1:`, `case 2 | 3:` and `case _:`")
    return ast.copy_location(made, pattern)


def _parts(subject: ast.expr) -> list[ast.expr]:
    return subject.elts if isinstance(subject, ast.Tuple) else []
