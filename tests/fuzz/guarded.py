"""Random packets through native code whose memory lies between pages that nobody may touch.

`python -m tests.fuzz.guarded COUNT SEED` ends with a segmentation fault where code reads or writes beyond a packet, its
output, its tables, registers, counters or meters. llvmlite does not offer LLVM's AddressSanitizer.
"""

from __future__ import annotations

import ctypes
import mmap
import random
import sys
from math import prod
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from midflight.p4.frontend import check
from midflight.primitives import Aggregate, Program, Threshold
from midflight.runtime.engine import Engine, Packets
from tests.fuzz.mutation import mutated
from tests.p4runtime.support import EVERYTHING, ipv4, other

__all__ = ["guarded", "main"]

_PROTECTED = 0
_KEPT: list[mmap.mmap] = []


def guarded(shape: int | tuple[int, ...], dtype: Any = np.uint8, *, exact: bool = False) -> NDArray[Any]:
    """Return an array of zeros that ends at a protected page, and before which there is another one.

    Without `exact` it begins at a multiple of 8 bytes, and up to 7 bytes may follow it.
    """
    kind = np.dtype(dtype)
    size = prod(shape if isinstance(shape, tuple) else (shape,)) * kind.itemsize
    room = -(-(size if exact else -(-size // 8) * 8) // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, room + 2 * mmap.PAGESIZE)
    _KEPT.append(memory)  # Pages stay protected, so that a pointer that outlives its array is found as well.
    whole = np.frombuffer(memory, np.uint8)
    start = mmap.PAGESIZE + room - (size if exact else -(-size // 8) * 8)
    array: NDArray[Any] = whole[start : start + size].view(kind).reshape(shape)
    library = ctypes.CDLL(None, use_errno=True)
    for page in (whole.ctypes.data, whole.ctypes.data + mmap.PAGESIZE + room):
        if library.mprotect(ctypes.c_void_p(page), mmap.PAGESIZE, _PROTECTED):
            raise OSError(ctypes.get_errno(), "mprotect")
    return array


def _placed(packets: list[bytes]) -> Packets:
    """Return a batch whose last packet ends at a protected page."""
    batch = Packets.from_list([(1, each) for each in packets])
    data = guarded(batch.data.size, np.uint8, exact=True)
    data[:] = batch.data
    return Packets(data, batch.offsets, batch.lengths, batch.ports, batch.sources)


def main(count: int, seed: int) -> int:
    """Run about `count` packets and return how many came out."""
    draw = random.Random(seed)
    kernels = Program(Aggregate("sums", workers=2, lanes=8, slots=4), Threshold("pressure", above=900, clear=850))
    seeds = [ipv4("10.0.0.1"), ipv4("10.1.2.3", ttl=0), other(), ipv4("10.0.0.1", load=bytes(range(200))), b""]
    with patch("numpy.zeros", guarded), patch("numpy.empty", guarded):
        engines = [Engine(check(EVERYTHING)), Engine(check(kernels.p4()))]
    out = 0
    for _ in range(count // 100 + 1):
        packets = [mutated(draw.choice(seeds), seeds, [], draw)[:1600] for _ in range(50)]
        for engine in engines:
            out += len(list(engine.process(_placed(packets))))
        while len(_KEPT) > 400:
            _KEPT.pop(200)
    return out


if __name__ == "__main__":
    sys.stdout.write(f"{main(int(sys.argv[1]), int(sys.argv[2]))}\n")
