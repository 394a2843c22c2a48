"""A generator of packets in the kernel: an XDP program that the kernel runs on frames that it makes itself.

Packets from a packet socket reach an XDP program on veth as socket buffers, which the kernel first copies to frames.
That takes several times as long as forwarding. These packets are frames from the start, as from a network card.
"""

from __future__ import annotations

import time

from midflight.runtime.engine.bpf.syscall import send_frames

__all__ = ["FrameGenerator", "program_text"]


def program_text(packet: bytes, interface: int) -> str:
    """Return the generator as LLVM code: it writes the packet's first bytes and redirects the frame to an interface.

    It writes at most 64 bytes, a multiple of 8, for each frame, because frames are reused after a router has changed
    them. `interface` is the number of the interface.
    """
    head = packet[: len(packet) & ~7][:64]
    lines = []
    for at in range(0, len(head), 8):
        word = int.from_bytes(head[at : at + 8], "little")
        lines.append(f"  %p{at} = getelementptr i8, ptr %begin, i64 {at}")
        lines.append(f"  store i64 {word}, ptr %p{at}, align 1")
    return _TEMPLATE.format(size=len(head), stores="\n".join(lines), interface=interface)


_TEMPLATE = """
define i32 @main(ptr %frame) section "xdp" {{
  %begin32 = load i32, ptr %frame, align 4
  %end.at = getelementptr i8, ptr %frame, i64 4
  %end32 = load i32, ptr %end.at, align 4
  %begin64 = zext i32 %begin32 to i64
  %end64 = zext i32 %end32 to i64
  %begin = inttoptr i64 %begin64 to ptr
  %end = inttoptr i64 %end64 to ptr
  %least = getelementptr i8, ptr %begin, i64 {size}
  %short = icmp ugt ptr %least, %end
  br i1 %short, label %drop, label %send

send:
{stores}
  %redirect = inttoptr i64 23 to ptr
  %result = call i64 %redirect(i32 {interface}, i64 0)
  %answer = trunc i64 %result to i32
  ret i32 %answer

drop:
  ret i32 1
}}
"""


class FrameGenerator:
    """Sends a packet over and over by an interface, with a program made from `program_text`.

    `program` is its file descriptor. The kernel runs the program, and what receives the frames, in the calling thread.
    """

    def __init__(self, program: int, packet: bytes) -> None:
        self._program = program
        self._packet = packet

    def run(self, count: int) -> float:
        """Send `count` packets and return the seconds that this took.

        They include about 10 ms in which the kernel prepares and cleans up. DeviceError if the kernel refuses.
        """
        start = time.perf_counter()
        send_frames(self._program, self._packet, count)
        return time.perf_counter() - start
