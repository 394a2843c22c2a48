"""A DDP communication hook that averages gradients through a switch, for models whose group has another backend."""

# DDP compares the annotations of a hook, which therefore must not be texts.

import torch
import torch.distributed as dist

__all__ = ["allreduce_hook"]


def allreduce_hook(group: dist.ProcessGroup, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    """Average a bucket of gradients over the ranks of `group`, which has the backend "midflight".

        group = dist.new_group(backend="midflight")
        model.register_comm_hook(group, midflight.torch.allreduce_hook)

    Returns the future of the averaged bucket, as DDP expects of a hook; it has the error if the collective fails. The
    average is rounded once, so it may differ in the last bit from DDP's own, which divides before it sums.
    """
    work = dist.all_reduce(bucket.buffer(), op=dist.ReduceOp.AVG, group=group, async_op=True)
    return work.get_future().then(lambda future: future.value()[0])
