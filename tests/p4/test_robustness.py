"""Any text results in a checked program or in an error message, never in a traceback."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midflight.errors import P4Error
from midflight.p4.frontend import check
from tests.p4.skeleton import skeleton
from tests.p4.test_p4c import EVERYTHING

PIECES = re.compile(r'\w+|"[^"]*"|\s+|.', re.DOTALL)
STRAY = ["0", "-1", "1w1", "8s3", "bit<8>", "{}", "(", ")", "hdr", "true", '"x"', "error.NoError", "_", "...", "{#}",
         "@", "apply", "default", "t.apply()", "packet", "NoAction", "<", ">>", ";", "\x00", "é"]  # fmt: skip
TOKENS = PIECES.findall(EVERYTHING)
PLACES = [index for index, each in enumerate(TOKENS) if each.strip()]
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(PLACES), st.one_of(st.sampled_from(STRAY), st.sampled_from(PLACES).map(TOKENS.__getitem__))
    ),
    min_size=1,
    max_size=3,
)


def refusal(text: str) -> P4Error | None:
    try:
        check(text, "test.p4")
    except P4Error as error:
        return error
    return None


@settings(max_examples=15)
@given(CHANGES)
def test_a_mutated_program_is_accepted_or_rejected(changes: list[tuple[int, str]]) -> None:
    tokens = list(TOKENS)
    for index, text in changes:
        tokens[index] = text
    error = refusal("".join(tokens))
    assert error is None or error.place is not None


@pytest.mark.parametrize("text", ["~" * 3000 + "1", "(" * 3000, "{" * 3000 + "1" + "}" * 3000])
def test_a_mistake_deep_down_has_its_place(text: str) -> None:
    error = refusal(skeleton(apply=f"meta.wide = {text};"))
    assert error is not None
    assert error.place is not None
    assert error.place.line == 25


@pytest.mark.parametrize("text", ["", "\n", ";", "#", "/", "@", "header", "}", "\x00"])
def test_fragments_of_programs_are_rejected(text: str) -> None:
    with pytest.raises(P4Error):
        check(text, "test.p4")
