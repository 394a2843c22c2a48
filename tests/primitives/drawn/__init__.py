"""Kernels that nobody would write, at random from everything the language has, and packets for them.

Random numbers come from a seeded generator rather than from hypothesis, whose examples of this size are too much alike.
"""

from tests.primitives.drawn.primitives import made, primitive_text
from tests.primitives.drawn.trials import trial

__all__ = ["made", "primitive_text", "trial"]
