"""The hosts' side of the protocols, without sockets and without a clock.

An endpoint is a state machine. The caller passes in datagrams and the time in nanoseconds; the endpoint returns
datagrams to send and the time of its next deadline. Simulated hosts run endpoints in virtual time, and `udp.py` runs
the same objects over UDP sockets in real time.
"""

from midflight.runtime.endpoint.base import Endpoint
from midflight.runtime.endpoint.reliable import Address, NoAnswerError, Reliable, Timing

__all__ = ["Address", "Endpoint", "NoAnswerError", "Reliable", "Timing"]
