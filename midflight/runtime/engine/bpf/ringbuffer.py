"""The kernel's ring buffer for messages from BPF programs (BPF_MAP_TYPE_RINGBUF), read in this process."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator

from midflight.runtime.engine.bpf.syscall import RINGBUF, create_map

__all__ = ["RingBuffer"]

_BUSY, _DISCARDED = 1 << 31, 1 << 30
_HEAD = 8


class RingBuffer:
    """A ring buffer of `size` bytes, a power of two and a multiple of the page size.

    `map` is its file descriptor, which polls as readable while there are messages. DeviceError if the kernel refuses.
    """

    def __init__(self, size: int) -> None:
        self.map = create_map(RINGBUF, "events", entries=size)
        self._size = size
        page = mmap.PAGESIZE
        self._consumer = mmap.mmap(self.map, page)
        self._producer = mmap.mmap(self.map, page + 2 * size, prot=mmap.PROT_READ, offset=page)
        self._data = page

    def read(self) -> Iterator[bytes]:
        """Remove and yield the complete messages, oldest first. Each is removed when it is yielded. Does not wait
        for messages.
        """
        (position,) = struct.unpack_from("=Q", self._consumer)
        while True:
            (end,) = struct.unpack_from("=Q", self._producer)
            if position >= end:
                return
            start = self._data + position % self._size
            (head,) = struct.unpack_from("=I", self._producer, start)
            if head & _BUSY:
                return
            length = head & ~_DISCARDED
            message = self._producer[start + _HEAD : start + _HEAD + length]
            position += -(-(_HEAD + length) // 8) * 8
            struct.pack_into("=Q", self._consumer, 0, position)
            if not head & _DISCARDED:
                yield message

    def close(self) -> None:
        """Release the ring buffer. Idempotent."""
        if self.map >= 0:
            self._consumer.close()
            self._producer.close()
            os.close(self.map)
            self.map = -1
