"""Error messages: place, caret and hint. The golden file contains each message completely."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from midflight.errors import P4Error
from midflight.p4.frontend import check, check_file
from tests.p4.skeleton import skeleton

GOLDEN = Path(__file__).parent / "golden" / "diagnostics.txt"
TITLE = re.compile(r"^=== (.+)$", re.MULTILINE)


def cases() -> list[tuple[str, str, str]]:
    """Return the title with the gap, the source and the message of each case in the golden file."""
    _, *pieces = TITLE.split(GOLDEN.read_text())
    made = []
    for title, body in zip(pieces[::2], pieces[1::2], strict=True):
        source, _, message = body.partition("---\n")
        made.append((title, source.strip("\n"), message.rstrip("\n")))
    return made


def complaint(title: str, source: str) -> str:
    """Return the message for a case. Its title names the gap that the source fills, or `file`."""
    gap = title.partition(":")[0]
    text = source if gap == "file" else skeleton(**{gap: source})
    with pytest.raises(P4Error) as caught:
        check(text, "test.p4")
    shown = str(caught.value)
    place = caught.value.place
    assert place is None or place.text in text.split("\n"), "the place shows the original line"
    # The line number depends on the skeleton, which is irrelevant here.
    return re.sub(r"\btest\.p4:\d+:(\d+)", r"test.p4:L:\1", shown)


CASES = cases()


@pytest.mark.parametrize(("title", "source", "message"), CASES, ids=[title for title, _, _ in CASES])
def test_a_mistake_is_reported_as_in_the_golden_file(title: str, source: str, message: str) -> None:
    assert complaint(title, source) == message


def test_places_name_the_file_as_given_whatever_folders_are_searched(tmp_path: Path) -> None:
    file = tmp_path / "wrong.p4"
    file.write_text("#include <core.p4>\nextern Object { Object(); }\nObject() main;\n")
    with pytest.raises(P4Error) as caught:
        check_file(file, [tmp_path])
    assert caught.value.place is not None
    assert (caught.value.place.file, caught.value.place.line) == (str(file), 3)


def test_places_are_correct_after_includes_and_comments() -> None:
    text = "// one\n/* two\n   three */ #include\n".replace("#include", "") + skeleton(apply="        meta.smal = 1;")
    line = text[: text.index("meta.smal")].count("\n") + 1
    with pytest.raises(P4Error) as caught:
        check(text, "test.p4")
    assert caught.value.place is not None
    assert (caught.value.place.line, caught.value.place.column) == (line, 14)
