"""Random kernels with all features of the language, and packets for them.

Random numbers come from a seeded generator instead of hypothesis, whose examples of this size are too similar.
"""

from tests.primitives.drawn.primitives import made, primitive_text
from tests.primitives.drawn.trials import trial

__all__ = ["made", "primitive_text", "trial"]
