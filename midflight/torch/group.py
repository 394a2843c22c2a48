"""The process group of the backend "midflight": what a switch can reduce goes through it, everything else to Gloo."""

from __future__ import annotations

import atexit
import logging
import os
import zlib
from collections.abc import Generator, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from midflight.collectives.client import Elsewhere, Job
from midflight.collectives.rounds import Round, agree, bitwise, gathered, greatest, least, sum_floats, sum_integers
from midflight.torch.ranks import Ranks, join
from midflight.torch.tensors import FLOATS, INTEGERS, array_of, bytes_of, put, put_bytes
from midflight.torch.work import HostsWork, SwitchWork

__all__ = ["MidflightGroup"]

_LOG = logging.getLogger("midflight")
_OPERATION = dist.ReduceOp.RedOpType
_BITWISE = {_OPERATION.BAND: "and", _OPERATION.BOR: "or", _OPERATION.BXOR: "xor"}

Steps = Generator[Round | Elsewhere, Any, Any]


class MidflightGroup(dist.ProcessGroup):
    """A group of ranks that reduces through a switch: what `init_process_group("midflight")` creates.

    store: shared by the ranks of this group only. rank, size: this rank's number from 0, and the number of ranks, at
    most 64. timeout: after which a collective fails that does not complete.

    Collectives through the switch are carried out in the order of their calls, in a thread. Each method returns a work
    at once, whose `wait` raises DistBackendError if the collective failed; all later ones through the switch then fail,
    too. The switch serves:

    * all_reduce, reduce and reduce_scatter: SUM, AVG, MIN and MAX of float32, float16 and bfloat16; SUM, MIN, MAX,
      BAND, BOR and BXOR of int8, uint8, int16, int32 and int64,
    * broadcast and all_gather of every type, and barrier.

    Everything else goes to Gloo: other types and operations, tensors that are sparse, not on the CPU or of different
    sizes, and sums with infinities or NaN. Rank 0 logs each kind once, except these sums. A group of one rank needs no
    switch.

    MidflightError if the ranks are not on one machine, are too many, or if the switch cannot be started. Errors of
    `store` propagate, such as when a rank does not come within its timeout.
    """

    def __init__(self, store: Any, rank: int, size: int, timeout: timedelta) -> None:
        super().__init__(rank, size)
        self._rank, self._size = rank, size
        self._gloo = _gloo(dist.PrefixStore("gloo", store), rank, size, timeout)
        # A group of its own for the client's thread, since the order of its operations and that of the caller's differ.
        self._hosts = _gloo(dist.PrefixStore("hosts", store), rank, size, timeout)
        self._logged: set[str] = set()
        self._ranks: Ranks | None = None
        self._process = os.getpid()
        if size > 1:
            self._ranks = join(dist.PrefixStore("ranks", store), rank, size, timeout)
            atexit.register(self.shutdown)

    def getBackendName(self) -> str:  # noqa: N802 - torch's name
        """Return "midflight"."""
        return "midflight"

    def name(self) -> str:
        """Return "midflight"."""
        return "midflight"

    @property
    def ranks(self) -> Ranks | None:
        """The connection to the switch, with its counters; None in a group of one rank, and after `shutdown`."""
        return self._ranks

    def shutdown(self) -> None:
        """Leave the group when all ranks do, or after 5 s; rank 0 then stops the switch. Idempotent.

        Collectives through the switch that have not completed by then, and later ones, fail. A rank whose collectives
        have failed leaves at once, unless it is rank 0. In a forked process, which has no
        connection of its own, it does not touch the switch.
        """
        atexit.unregister(self.shutdown)
        ranks, self._ranks = self._ranks, None
        if ranks is not None and os.getpid() == self._process:
            ranks.leave()

    abort = shutdown

    # Reductions

    def allreduce(self, tensors: Sequence[Any], opts: Any = None) -> Any:
        """Reduce each tensor over all ranks, in place."""
        operation = _operation(opts)
        if (reason := _unserved(tensors, operation)) or not tensors:
            return self._forward("all_reduce", reason).allreduce(tensors, *_given(opts))
        return self._submit(
            _described("all_reduce", tensors), [*tensors], *[self._reduce(each, [each], operation) for each in tensors]
        )

    def allreduce_coalesced(self, tensors: Sequence[Any], opts: Any = None) -> Any:
        """Reduce each tensor over all ranks, in place."""
        return self.allreduce(tensors, opts)

    def reduce(self, tensors: Sequence[Any], opts: Any) -> Any:
        """Reduce a tensor over all ranks, in place on the root only."""
        operation = _operation(opts)
        if reason := _unserved(tensors, operation):
            return self._forward("reduce", reason).reduce(tensors, opts)
        tensor = tensors[opts.rootTensor]
        into = [tensor] if opts.rootRank == self._rank else []
        return self._submit(_described("reduce", tensors), [*tensors], self._reduce(tensor, into, operation))

    def reduce_scatter(self, outputs: Sequence[Any], inputs: Sequence[Sequence[Any]], opts: Any = None) -> Any:
        """Reduce each of the lists of tensors, one tensor for each rank, and write that of this rank to the output."""
        operation = _operation(opts)
        everything = [*outputs, *[each for row in inputs for each in row]]
        if (reason := _unserved(everything, operation)) or not _alike(everything):
            return self._forward("reduce_scatter", reason).reduce_scatter(outputs, inputs, *_given(opts))
        steps = [
            self._reduce(row, [output], operation, only=self._rank) for row, output in zip(inputs, outputs, strict=True)
        ]
        return self._submit(_described("reduce_scatter", outputs), [*outputs], *steps)

    def reduce_scatter_single(self, output: Any, source: Any, opts: Any = None) -> Any:
        """Reduce a tensor over all ranks, and write the part of this rank to the output."""
        operation = _operation(opts)
        if (reason := _unserved([output, source], operation)) or source.numel() != output.numel() * self._size:
            return self._forward("reduce_scatter", reason).reduce_scatter_single(output, source, *_given(opts))
        steps = self._reduce(source, [output], operation, only=self._rank)
        return self._submit(_described("reduce_scatter", [output]), [output], steps)

    _reduce_scatter_base = reduce_scatter_single

    # Copies

    def broadcast(self, tensors: Sequence[Any], opts: Any) -> Any:
        """Copy the root's tensor to all ranks."""
        if reason := _strange(tensors):
            return self._forward("broadcast", reason).broadcast(tensors, opts)
        tensor, root = tensors[opts.rootTensor], opts.rootRank
        return self._submit(_described("broadcast", tensors), [*tensors], self._copy(tensor, root))

    def allgather(self, outputs: Sequence[Sequence[Any]], inputs: Sequence[Any], opts: Any = None) -> Any:
        """Copy each input of all ranks to the outputs, a list of tensors for each input, one tensor for each rank."""
        everything = [*inputs, *[each for row in outputs for each in row]]
        if (reason := _strange(everything)) or not _alike(everything):
            return self._forward("all_gather", reason).allgather(outputs, inputs, *_given(opts))
        steps = [self._gather(given, row) for given, row in zip(inputs, outputs, strict=True)]
        return self._submit(_described("all_gather", inputs), [*outputs], *steps)

    allgather_coalesced = allgather

    def all_gather_single(self, output: Any, source: Any, opts: Any = None) -> Any:
        """Copy the tensors of all ranks, one after the other, to the output."""
        if (reason := _strange([output, source])) or output.numel() != source.numel() * self._size:
            return self._forward("all_gather", reason).all_gather_single(output, source, *_given(opts))
        return self._submit(_described("all_gather", [source]), [output], self._gather(source, [output]))

    _allgather_base = all_gather_single

    def barrier(self, opts: Any = None) -> Any:  # noqa: ARG002
        """Complete when all ranks have called it, and carried out all their earlier collectives through the switch."""
        return self._submit("barrier", [], self._meet())

    # What Gloo serves

    def send(self, tensors: Sequence[Any], destination: int, tag: int) -> Any:
        """Send tensors to one rank, by Gloo."""
        return self._forward("send").send(tensors, destination, tag)

    def recv(self, tensors: Sequence[Any], source: int, tag: int) -> Any:
        """Receive tensors from one rank, by Gloo."""
        return self._forward("recv").recv(tensors, source, tag)

    def recv_anysource(self, tensors: Sequence[Any], tag: int) -> Any:
        """Receive tensors from any rank, by Gloo."""
        return self._forward("recv").recv_anysource(tensors, tag)

    def gather(self, outputs: Sequence[Sequence[Any]], inputs: Sequence[Any], opts: Any) -> Any:
        """Gather tensors on one rank, by Gloo."""
        return self._forward("gather").gather(outputs, inputs, opts)

    def scatter(self, outputs: Sequence[Any], inputs: Sequence[Sequence[Any]], opts: Any) -> Any:
        """Scatter tensors from one rank, by Gloo."""
        return self._forward("scatter").scatter(outputs, inputs, opts)

    def alltoall(self, outputs: Sequence[Any], inputs: Sequence[Any], opts: Any = None) -> Any:
        """Exchange tensors between all ranks, by Gloo."""
        return self._forward("all_to_all").alltoall(outputs, inputs, *_given(opts))

    def all_to_all_single(
        self, output: Any, source: Any, output_sizes: Sequence[int], input_sizes: Sequence[int], opts: Any = None
    ) -> Any:
        """Exchange parts of a tensor between all ranks, by Gloo."""
        group = self._forward("all_to_all")
        return group.alltoall_base(output, source, output_sizes, input_sizes, *_given(opts))

    alltoall_base = all_to_all_single

    def monitored_barrier(self, timeout: timedelta | None = None, wait_all_ranks: bool = False) -> None:
        """Wait for all ranks, and name those that do not come, by Gloo."""
        self._forward("monitored_barrier").monitored_barrier(timeout, wait_all_ranks)

    # How it is done

    def _forward(self, name: str, reason: str = "") -> Any:
        """Return the Gloo group that serves an operation, and log the first use of each."""
        what = f"{name} of {reason}" if reason else name
        if what not in self._logged:
            self._logged.add(what)
            if self._rank == 0:
                _LOG.info("%s is not computed by the switch and goes to Gloo", what)
        return self._gloo

    def _submit(self, name: str, results: Sequence[Any], *collectives: Steps) -> Any:
        work = SwitchWork(name, results)

        def steps() -> Generator[Round | Elsewhere, Any, None]:
            for each in collectives:
                yield from each

        if self._ranks is not None:
            self._ranks.client.submit(Job(name, steps(), work.finish))
        elif self._size > 1:
            work.finish(RuntimeError("the group has been destroyed"))
        else:
            _alone(steps())
            work.finish(None)
        return work

    def _reduce(self, given: Any, into: Sequence[Any], operation: Any, *, only: int | None = None) -> Steps:
        """Reduce a tensor, or a list of tensors as one, and write the result, or the part number `only`, to `into`."""
        sample = given if isinstance(given, torch.Tensor) else given[0]
        values = np.concatenate([array_of(each) for each in given]) if sample is not given else array_of(given)
        mark = _mark(f"{operation.name} of {values.size} {sample.dtype}")
        found: Any
        if self._size == 1:
            found = values.copy()
        elif operation in (_OPERATION.SUM, _OPERATION.AVG) and sample.dtype in FLOATS:
            found = yield from self._add(values, mark, average=operation == _OPERATION.AVG)
        else:
            yield from agree(mark)
            if operation == _OPERATION.SUM:
                found = yield from sum_integers(values)
            elif operation in _BITWISE:
                found = yield from bitwise(_BITWISE[operation], values)
            else:
                found = yield from (least if operation == _OPERATION.MIN else greatest)(values)
        if only is not None:
            found = found.reshape(self._size, -1)[only]
        for each in into:
            put(each, found)

    def _add(self, values: Any, mark: int, *, average: bool) -> Steps:
        """Return the sum or average of float32 arrays. Those with infinities or NaN are added up by Gloo."""
        total = yield from sum_floats(values, self._size, mark)
        if total is not None:
            return total.values(self._size if average else 1)
        tensor = torch.from_numpy(values.copy())
        work = HostsWork(self._hosts.allreduce([tensor]))
        yield work
        work.check()
        return (tensor / self._size if average else tensor).numpy()

    def _copy(self, tensor: Any, root: int) -> Steps:
        own = bytes_of(tensor)
        yield from agree(_mark(f"broadcast of {own.size} bytes from {root}"))
        # A sum with zeros: only the root contributes something else.
        found = yield from gathered(own if root == self._rank else np.zeros_like(own), 0, 1)
        if root != self._rank:
            put_bytes(tensor, found[0])

    def _gather(self, given: Any, into: Sequence[Any]) -> Steps:
        """Gather the bytes of a tensor, into one tensor for each rank, or into one for all."""
        own = bytes_of(given)
        yield from agree(_mark(f"all_gather of {own.size} bytes"))
        found = yield from gathered(own, self._rank, self._size)
        for each, data in zip(into, found if len(into) > 1 or self._size == 1 else [found.reshape(-1)], strict=True):
            put_bytes(each, data)

    def _meet(self) -> Steps:
        yield from agree(_mark("barrier"))


def _gloo(store: Any, rank: int, size: int, timeout: timedelta) -> Any:
    group = dist.ProcessGroup(store, rank, size)
    backend = dist.ProcessGroupGloo(store, rank, size, timeout=timeout)
    group._set_default_backend(dist.ProcessGroup.BackendType.GLOO)
    group._register_backend(torch.device("cpu"), dist.ProcessGroup.BackendType.GLOO, backend)
    return group


def _mark(text: str) -> int:
    """Return the int32 by which the ranks compare what they call."""
    return zlib.crc32(text.encode()) - 2**31


def _alone(steps: Steps) -> None:
    """Carry out the collectives of a group of one rank: what it contributes is the result."""
    found = None
    while True:
        try:
            step = steps.send(found)
        except StopIteration:
            return
        assert isinstance(step, Round)
        found = step.values


def _operation(opts: Any) -> Any:
    """Return the kind of reduction of options, of an operation, or of neither, which means a sum."""
    found = getattr(opts, "reduceOp", opts)
    return _OPERATION.SUM if found is None else getattr(found, "op", found)


def _given(opts: Any) -> tuple[Any, ...]:
    return () if opts is None else (opts,)


def _alike(tensors: Sequence[Any]) -> bool:
    return len({(each.dtype, each.numel()) for each in tensors}) == 1


def _strange(tensors: Sequence[Any]) -> str:
    """Return what is special about tensors that only Gloo takes, or an empty text."""
    for each in tensors:
        if each.device.type != "cpu":
            return f"tensors on {each.device.type}"
        if each.layout != torch.strided:
            return "sparse tensors"
    return ""


def _unserved(tensors: Sequence[Any], operation: Any) -> str:
    """Return what a switch does not reduce, such as "PRODUCT of float32", or an empty text."""
    if reason := _strange(tensors):
        return reason
    kinds = dict.fromkeys(each.dtype for each in tensors)
    for kind in kinds:
        floats = operation in (_OPERATION.SUM, _OPERATION.AVG, _OPERATION.MIN, _OPERATION.MAX) and kind in FLOATS
        integers = operation in (_OPERATION.SUM, _OPERATION.MIN, _OPERATION.MAX, *_BITWISE) and kind in INTEGERS
        if not (floats or integers):
            return f"{operation.name} of {str(kind).removeprefix('torch.')}"
    return ""


def _described(name: str, tensors: Sequence[Any]) -> str:
    parts = ", ".join(f"{each.numel()} {str(each.dtype).removeprefix('torch.')}" for each in tensors[:3])
    return f"{name} of {parts}{', ...' if len(tensors) > 3 else ''}"
