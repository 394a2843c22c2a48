"""The hosts' side of the protocols, without sockets and without a clock.

An endpoint is told what came in and what time it is, and says what to send and when to ask again. The simulated hosts
run it in virtual time; the same objects run over UDP sockets in real time.
"""

from midflight.runtime.endpoint.base import Endpoint
from midflight.runtime.endpoint.reliable import Address, NoAnswerError, Reliable, Timing

__all__ = ["Address", "Endpoint", "NoAnswerError", "Reliable", "Timing"]
