"""Prose in code and documentation is plain English: a short list of archaisms and idioms that must not come back.

The check is a net, not a measure: a text without these words can still be bad.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.trees import tree_of

ROOT = Path(__file__).parents[2]

# Folders and files whose texts have not been rewritten yet. It is empty: never add one.
NOT_DONE: tuple[str, ...] = ()

BANNED = (
    (r"\b(?:tells?|told|telling)\b(?! whether)", 'say "reports", "returns", "given" or "notified"'),
    (r"\banew\b", 'say "again"'),
    (r"\b(?:whatever|whoever|whichever) (?:\w+ ){0,3}(?:is|was|are)\b", "name what is meant"),
    (r"\bfor ever\b(?! )", 'say "indefinitely"'),
    (r"\bas (?:it|they) (?:stands?|stood)\b", 'say "unchanged"'),
    (r"\bthere (?:is|are) (?:none|nothing) any more\b", 'say "no longer exists"'),
    (r"\b(?:takes|took|taken) back\b", 'say "rolls back", "removes" or "withdraws"'),
    (r"\bcame? to nothing\b", 'say "fails"'),
    (r"\bmends? that\b", 'say "corrects"'),
    (r"\btakes? note\b", 'say "record"'),
)
ANY = re.compile("|".join(pattern for pattern, _ in BANNED))
OPENINGS = (
    (r"^(?:Have|Say|Tell|Take) ", 'open with what it does: "Set", "Return", "Process"'),
    (r"^Have the ", "name the effect"),
)
MODULE_OPENINGS = ((r"^(?:What|How|Where|Which|Who) ", "open with a noun"),)


def is_done(path: Path) -> bool:
    """Return whether a file's texts have been rewritten."""
    name = path.relative_to(ROOT).as_posix()
    for each in NOT_DONE:
        folder, star, _ = each.partition("*")
        if star and path.relative_to(ROOT).parent.as_posix() == folder.rstrip("/"):
            return False
        if not star and (name == each or name.startswith(f"{each}/")):
            return False
    return True


def prose(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield the texts of a file as line, kind and text: docstrings, comments and messages, or a page's paragraphs."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        code = False
        for number, line in enumerate(text.splitlines(), 1):
            code ^= line.lstrip().startswith("```")
            if not code and not line.startswith("    "):
                yield number, "page", line
        return
    tree = tree_of(path)
    docstrings, nodes = set(), [*ast.walk(tree)]
    for node in nodes:
        body = getattr(node, "body", None)
        for index, each in enumerate(body if isinstance(body, list) else ()):
            if (
                isinstance(each, ast.Expr)
                and isinstance(each.value, ast.Constant)
                and isinstance(each.value.value, str)
            ):
                docstrings.add(id(each.value))
                kind = "module" if node is tree and index == 0 else "docstring"
                yield each.lineno, kind, each.value.value
    for node in nodes:
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            for part in ast.walk(node.exc):
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and id(part) not in docstrings:
                    yield part.lineno, "message", part.value
    if not any(ANY.search(line.partition("#")[2]) for line in text.splitlines() if "#" in line):
        return  # tokenising is slow
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], "comment", token.string.lstrip("# ")


def violations(path: Path) -> Iterator[str]:
    """Yield each banned expression in a file with its line and what to write instead."""
    for line, kind, text in prose(path):
        rules: tuple[tuple[str, str], ...] = BANNED
        if kind in ("docstring", "module"):
            rules += OPENINGS
        if kind == "module":
            rules += MODULE_OPENINGS
        # Text in backquotes or after >>> is code.
        words = re.sub(r"`[^`]*`|^\s*>>>.*$|^    .*\S {2,}#.*$", "", text, flags=re.MULTILINE)
        for pattern, advice in rules:
            if found := re.search(pattern, words):
                yield f"{path.relative_to(ROOT)}:{line}: {found[0]!r}: {advice}"


def files() -> list[Path]:
    """Return every file with prose, sorted."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    for folder in ("midflight", "tests"):
        found += (ROOT / folder).rglob("*.py")
    return sorted(each for each in found if each.name != Path(__file__).name)


def test_finished_folders_stay_in_plain_english() -> None:
    found = [violation for path in files() if is_done(path) for violation in violations(path)]
    assert not found, "\n".join(found)


def test_the_list_names_only_what_exists() -> None:
    missing = [each for each in NOT_DONE if not [*ROOT.glob(each)]]
    assert not missing, f"{missing} no longer exist: remove them from NOT_DONE"


@pytest.mark.parametrize(
    ("text", "caught"),
    [
        ('"""Return what it was told."""', True),
        ('"""Begin anew."""', True),
        ('"""What a worker has seen."""', True),
        ('def f():\n    """Have the switch drop all."""', True),
        ('raise ValueError("it is told twice")', True),
        ("x = 1  # whatever it was", True),
        ('"""Return `told`, and retry."""', False),
        ('told = "told"', False),
    ],
)
def test_the_net_catches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, caught: bool) -> None:
    path = tmp_path / "module.py"
    path.write_text(text)
    monkeypatch.setattr("tests.house.test_language.ROOT", tmp_path)
    assert bool([*violations(path)]) == caught
