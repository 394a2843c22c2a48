"""One rank of a test: `python -m tests.torch.worker CASE RANK SIZE FOLDER`. It exits with 0 if all is right."""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

import midflight.torch
from midflight.primitives.fixedpoint import error_bound, quantise, scale_bits

FLOATS = [torch.float32, torch.float16, torch.bfloat16]
INTEGERS = [torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64]
OPS = dist.ReduceOp
SHAPES: list[tuple[int, ...]] = [(), (1,), (7,), (3, 5), (0,), (257,), (2, 0, 3), (40, 31)]


def drawn(random: np.random.Generator, kind: Any, shape: tuple[int, ...], size: int) -> list[Any]:
    """Return the inputs of all ranks."""
    if kind in FLOATS:
        scale = 2.0 ** random.integers(-20, 12)
        return [torch.from_numpy(np.array(random.normal(size=shape) * scale)).to(kind) for _ in range(size)]
    limits = torch.iinfo(kind)
    return [
        torch.from_numpy(np.array(random.integers(limits.min, limits.max, shape, np.int64, endpoint=True))).to(kind)
        for _ in range(size)
    ]


def fixed_sum(inputs: list[Any], average: bool) -> Any:
    """Return the sum by its definition in docs/torch.md, in fixed point."""
    arrays = [each.float().numpy() for each in inputs]
    largest = max((float(np.abs(each).max()) for each in arrays if each.size), default=0.0)
    bits = scale_bits(2.0 ** max(np.frexp(largest)[1], -125) if largest else 2.0**-125, len(arrays))
    exact = np.sum([each.astype(np.float64) for each in arrays], axis=0)
    total = np.sum([quantise(each, bits).astype(np.int64) for each in arrays], axis=0).astype(np.float64)
    total = np.ldexp(total, -bits)
    assert (np.abs(total - exact) <= error_bound(bits, len(arrays))).all()
    return torch.from_numpy(np.asarray((total / len(arrays) if average else total).astype(np.float32))).to(
        inputs[0].dtype
    )


def expected(inputs: list[Any], op: Any) -> Any:
    if op in (OPS.SUM, OPS.AVG) and inputs[0].dtype in FLOATS:
        return fixed_sum(inputs, op == OPS.AVG)
    result = inputs[0].clone()
    for each in inputs[1:]:
        match op:
            case OPS.SUM:
                result = result + each
            case OPS.MIN:
                result = torch.minimum(result, each)
            case OPS.MAX:
                result = torch.maximum(result, each)
            case OPS.BAND:
                result = result & each
            case OPS.BOR:
                result = result | each
            case OPS.BXOR:
                result = result ^ each
    return result


def same(found: Any, wanted: Any) -> None:
    assert found.dtype == wanted.dtype
    assert found.shape == wanted.shape, (found.shape, wanted.shape)
    assert torch.equal(found, wanted), (found, wanted)


def collectives(rank: int, size: int) -> None:
    """Random collectives, each against its definition, bit for bit."""
    random = np.random.default_rng(16)
    for number in range(90):
        kind = [*FLOATS, *INTEGERS][number % 8]
        ops = [OPS.SUM, OPS.AVG, OPS.MIN, OPS.MAX] if kind in FLOATS else [OPS.SUM, OPS.MIN, OPS.MAX]
        ops += [] if kind in FLOATS else [OPS.BAND, OPS.BOR, OPS.BXOR]
        op = ops[random.integers(len(ops))]
        shape = SHAPES[random.integers(len(SHAPES))]
        inputs = drawn(random, kind, shape, size)
        root = int(random.integers(size))
        total = expected(inputs, op)
        own = inputs[rank].clone()
        match ["all_reduce", "strided", "reduce", "reduce_scatter", "parts"][random.integers(5)]:
            case "all_reduce":
                dist.all_reduce(own, op=op)
                same(own, total)
            case "strided":
                wide = torch.zeros((*shape, 2), dtype=kind)
                wide[..., 0] = own
                dist.all_reduce(wide[..., 0], op=op)
                same(wide[..., 0], total)
                assert not wide[..., 1].any()
            case "reduce":
                dist.reduce(own, root, op=op)
                same(own, total if rank == root else inputs[rank])
            case "reduce_scatter":
                rows = [drawn(random, kind, shape, size) for _ in range(size)]  # by rank: a tensor for each rank
                out = torch.empty(shape, dtype=kind)
                dist.reduce_scatter(out, rows[rank], op=op)
                wanted = [expected([row[part] for row in rows], op) for part in range(size)]
                if op in (OPS.SUM, OPS.AVG) and kind in FLOATS and out.numel():  # one scale for all parts
                    flat = [torch.cat([each.reshape(-1) for each in row]) for row in rows]
                    wanted = [each.reshape(shape) for each in expected(flat, op).chunk(size)]
                same(out, wanted[rank])
            case "parts":
                flat = drawn(random, kind, (size * 11,), size)
                out = torch.empty(11, dtype=kind)
                dist.reduce_scatter_single(out, flat[rank], op=op)
                same(out, expected(flat, op)[rank * 11 : (rank + 1) * 11])
    for kind in [*FLOATS, *INTEGERS, torch.float64, torch.bool, torch.complex64]:
        inputs = [torch.from_numpy(random.integers(0, 2, (3, 5))).to(kind) * (each + 1) for each in range(size)]
        inputs = [each.to(kind) for each in inputs]
        gathered = [torch.empty(3, 5, dtype=kind) for _ in range(size)]
        dist.all_gather(gathered, inputs[rank])
        for found, wanted in zip(gathered, inputs, strict=True):
            same(found, wanted)
        single = torch.empty(size * 3, 5, dtype=kind)
        dist.all_gather_single(single, inputs[rank])
        same(single, torch.cat(inputs))
        copy = inputs[rank].clone().t()
        dist.broadcast(copy, size - 1)
        same(copy, inputs[size - 1].t())


def special(rank: int, size: int) -> None:
    """Values that a switch cannot add up, and MIN and MAX of them."""
    nan, inf = float("nan"), float("inf")
    for kind in FLOATS:
        values = torch.tensor([1.0, 2.0 + rank, -0.0, 3.0], dtype=kind)
        values[rank % 2] = [inf, nan][rank % 2]
        dist.all_reduce(values)
        assert values[0].isinf()
        assert values[1].isnan()
        assert values[2:].tolist() == [0.0, 3.0 * size]
        extremes = torch.tensor([float(rank), nan if rank == 1 else 1.0, -inf, -0.0], dtype=kind)
        dist.all_reduce(extremes, op=OPS.MAX)
        assert extremes[1].isnan()
        assert extremes[[0, 2, 3]].tolist() == [size - 1, -inf, 0.0]
        average = torch.tensor([inf, float(rank)], dtype=kind)
        dist.all_reduce(average, op=OPS.AVG)
        assert average.tolist() == [inf, torch.tensor((size - 1) / 2).to(kind).item()]
    huge = torch.full((2,), 3e38)
    dist.all_reduce(huge)
    assert huge.tolist() == [inf, inf]
    same(_reduced(torch.full((3,), 2**31 - 1, dtype=torch.int32)), torch.full((3,), size * (2**31 - 1)).int())
    tiny = torch.full((3,), 2.0**-140)  # a denormal number
    same(_reduced(tiny), torch.full((3,), size * 2.0**-140))


def _reduced(tensor: Any) -> Any:
    dist.all_reduce(tensor)
    return tensor


def works(rank: int, size: int) -> None:
    """Asynchronous works complete in order, with futures, and DDP's buckets overlap."""
    tensors = [torch.full((300,), float(number * (rank + 1))) for number in range(20)]
    pending = [dist.all_reduce(each, async_op=True) for each in tensors]
    values = [each.get_future().wait()[0] for each in pending]
    triangle = size * (size + 1) / 2
    for number, (work, value, tensor) in enumerate(zip(pending, values, tensors, strict=True)):
        assert value.data_ptr() == tensor.data_ptr()
        assert work.wait()
        assert work.is_completed()
        assert work.is_success()
        assert tensor.tolist() == [number * triangle] * 300
    seen = dist.barrier(async_op=True).get_future().then(lambda future: future.value()).wait()
    assert seen == []


def elsewhere(rank: int, size: int) -> None:
    """What a switch does not serve goes to Gloo, which the log says once."""
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("midflight").addHandler(handler)
    logging.getLogger("midflight").setLevel(logging.INFO)
    for _ in range(2):
        double = torch.tensor([1.0, 2.0], dtype=torch.float64)
        dist.all_reduce(double)
        same(double, torch.tensor([1.0, 2.0], dtype=torch.float64) * size)
        product = torch.tensor([2.0])
        dist.all_reduce(product, op=OPS.PRODUCT)
        assert product.item() == 2.0**size
    said = ["all_reduce of SUM of float64", "all_reduce of PRODUCT of float32"]
    wanted = [f"{each} is not computed by the switch and goes to Gloo" for each in said]
    assert messages == (wanted if rank == 0 else [])
    logging.getLogger("midflight").removeHandler(handler)
    out = torch.empty(size, dtype=torch.int64)
    dist.all_to_all_single(out, torch.arange(size) + 10 * rank)
    assert out.tolist() == [10 * each + rank for each in range(size)]
    token = torch.tensor([rank])
    if rank == 0:
        dist.send(token, 1)
    elif rank == 1:
        dist.recv(token, 0)
        assert token.item() == 0
    rows = [torch.empty(1) for _ in range(size)] if rank == 0 else None
    dist.gather(torch.tensor([float(rank)]), rows, dst=0)
    if rows is not None:
        assert [each.item() for each in rows] == [float(each) for each in range(size)]
    part = torch.empty(1)
    dist.scatter(part, [torch.tensor([float(each)]) for each in range(size)] if rank == 0 else None, src=0)
    assert part.item() == rank
    objects: list[Any] = [None] * size
    dist.all_gather_object(objects, {"rank": rank})
    assert objects == [{"rank": each} for each in range(size)]


def training(rank: int, size: int) -> None:
    """DDP trains the same weights as with Gloo, up to rounding, and the same on all ranks, with a hook and without."""
    gloo = dist.new_group(backend="gloo")
    weights = []
    for group, hook in ((gloo, False), (None, False), (None, True)):
        torch.manual_seed(16)
        model = torch.nn.Sequential(torch.nn.Linear(12, 40), torch.nn.ReLU(), torch.nn.Linear(40, 3))
        ddp = torch.nn.parallel.DistributedDataParallel(model, process_group=group, bucket_cap_mb=0.001)
        if hook:
            ddp.register_comm_hook(dist.group.WORLD, midflight.torch.allreduce_hook)
        optimizer = torch.optim.SGD(ddp.parameters(), lr=0.1)
        random = torch.Generator().manual_seed(rank)
        for _ in range(6):
            optimizer.zero_grad()
            inputs = torch.randn(16, 12, generator=random)
            torch.nn.functional.cross_entropy(ddp(inputs), (inputs.sum(1) > 0).long()).backward()
            optimizer.step()
        weights.append(torch.cat([each.detach().reshape(-1) for each in model.parameters()]))
    for each in weights[1:]:
        assert torch.allclose(each, weights[0], rtol=1e-5, atol=1e-6)
        rows = [torch.empty_like(each) for _ in range(size)]
        dist.all_gather(rows, each, group=gloo)
        for row in rows:
            same(row, each)


def groups(rank: int, size: int) -> None:
    """A group of some ranks has a switch of its own; one of a single rank needs none."""
    alone = [dist.new_group([each], backend="midflight") for each in range(size)][rank]
    value = torch.tensor([0.1, float("inf")])
    dist.all_reduce(value, op=OPS.AVG, group=alone)
    same(value, torch.tensor([0.1, float("inf")]))
    dist.barrier(group=alone)
    rows = [torch.empty(2)]
    dist.all_gather(rows, value, group=alone)
    same(rows[0], value)
    dist.broadcast(value, rank, group=alone)
    same(value, rows[0])
    pair = dist.new_group([0, size - 1], backend="midflight")
    if rank in (0, size - 1):
        value = torch.tensor([rank + 1], dtype=torch.int64)
        dist.all_reduce(value, group=pair)
        assert value.item() == size + 1


def killed_switch(rank: int, size: int) -> None:
    """A switch that is killed in the middle of a sum costs time, not the run."""
    group: Any = dist.distributed_c10d._get_default_group()
    inputs = [torch.randn(60_000, generator=torch.Generator().manual_seed(each)) for each in range(size)]
    pending = []
    for number in range(3):
        own = inputs[rank].clone()
        pending.append((own, dist.all_reduce(own, async_op=True)))
        if rank == 0 and number == 0:
            os.kill(group.ranks.switch, signal.SIGKILL)
    for own, work in pending:
        work.wait()
        same(own, fixed_sum(inputs, False))
    assert group.ranks.statistics["sum"].epochs == 1


def killed_rank(rank: int, size: int) -> None:
    """A rank that is killed is named, in torch's own error, long before the timeout."""
    dist.all_reduce(torch.ones(1))
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    begun = time.monotonic()
    for _ in range(2):
        reason = failure(torch.ones(1))
        assert "rank 1 (process" in reason, reason
        assert reason.endswith("has ended"), reason
    assert time.monotonic() - begun < 60


def failure(tensor: Any) -> str:
    """Return the message of torch's own error for an all-reduce that must fail."""
    try:
        dist.all_reduce(tensor)
    except dist.DistBackendError as error:
        return str(error)
    raise AssertionError("a collective completed without one of its ranks")


def other_collective(rank: int, size: int) -> None:
    """Ranks that call different collectives, or with other sizes or types, get an error and not each other's data."""
    group: Any = dist.distributed_c10d._get_default_group()
    tensors = [torch.ones(4), torch.ones(5), torch.ones(4, dtype=torch.int32)]
    reason = failure(tensors[rank % 3])
    assert "the ranks do not call the same collective with the same sizes and types" in reason, reason
    assert group.ranks.statistics["sum"].rounds == 0


def absent_rank(rank: int, size: int) -> None:
    """A rank that does not begin a collective is named when the timeout ends."""
    if rank == 1:
        store: Any = dist.distributed_c10d._get_default_store()
        store.wait(["seen"])
        return
    reason = failure(torch.ones(2, dtype=torch.int64))
    assert "collective 1 (all_reduce of 2 int64) did not complete within 5 s: rank 1 (process" in reason, reason
    assert reason.endswith("has not begun it"), reason
    if rank == 0:
        dist.distributed_c10d._get_default_store().set("seen", "")


SHARED = [collectives, special, works, elsewhere, training, groups, killed_switch]
CASES: dict[str, tuple[list[Any], int]] = {
    "all": (SHARED, 300),
    "killed_rank": ([killed_rank], 300),
    "other_collective": ([other_collective], 300),
    "absent_rank": ([absent_rank], 5),
}


def main(case: str, rank: int, size: int, folder: Path) -> None:
    torch.set_num_threads(1)
    faulthandler.dump_traceback_later(500)  # a rank that hangs says where
    functions, timeout = CASES[case]
    dist.init_process_group(
        "midflight",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=timeout),
    )
    assert dist.get_backend() == "midflight"
    for each in functions:
        begun = time.monotonic()
        each(rank, size)
        if rank == 0:
            sys.stdout.write(f"{each.__name__}: {time.monotonic() - begun:.1f} s\n")
            sys.stdout.flush()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
