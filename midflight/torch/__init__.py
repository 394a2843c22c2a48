"""PyTorch's collectives through a switch: importing this module registers the backend "midflight".

    dist.init_process_group("midflight")

PyTorch itself imports this module when it is imported (by its entry point `torch.backends`), unless the environment has
TORCH_DEVICE_BACKEND_AUTOLOAD=0. So scripts need not import it. Needs PyTorch 2.6 or later: `pip install
'midflight[torch]'`. See docs/torch.md.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import torch.distributed

from midflight.torch.hook import allreduce_hook

__all__ = ["allreduce_hook"]


def _group(store: Any, rank: int, size: int, timeout: timedelta) -> Any:
    # Imported here, because PyTorch imports this module also where nobody uses the backend.
    from midflight.torch.group import MidflightGroup

    return MidflightGroup(store, rank, size, timeout)


if torch.distributed.is_available():
    torch.distributed.Backend.register_backend("midflight", _group, devices=["cpu"])
