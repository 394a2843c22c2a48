"""What the primitives for coordination refuse."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from midflight.errors import KernelError
from midflight.primitives import Primitive, Sequencer


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Sequencer("s", groups=0), "groups must be 1 to 4096, not 0"),
        (lambda: Sequencer("s", clients=4097), "clients must be 1 to 4096, not 4097"),
        (lambda: Sequencer("s", width=65), "width must be 2 to 64, not 65"),
        (lambda: Sequencer("s", groups=17, clients=4096), "17 groups of 4096 clients are more than the 65536"),
    ],
)
def test_parameters_out_of_their_limits(make: Callable[[], Primitive], told: str) -> None:
    with pytest.raises(KernelError, match=told):
        make()
