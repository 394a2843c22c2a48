"""Train a small convolutional network and a small transformer on handwritten digits, with DDP over any backend.

    torchrun --nproc-per-node 4 examples/train_ddp.py --backend midflight

Nothing here is specific to Midflight but the name of the backend. Compare with `--backend gloo`: the losses are the
same up to rounding. Needs torch and scikit-learn, whose package contains the images.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class Transformer(nn.Module):
    """Reads an image as a sequence of its eight rows."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.position = nn.Parameter(torch.zeros(8, width))
        layer = nn.TransformerEncoderLayer(width, nhead=4, dim_feedforward=96, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers=2)
        self.head = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> Tensor:
        rows = self.embed(images.squeeze(1)) + self.position
        return self.head(self.encoder(rows).mean(1))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 4 * 4, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return images and labels to train with, then those to test with."""
    found = load_digits()
    images = torch.tensor(found.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(found.target, dtype=torch.int64)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, test = order[:1400], order[1400:]
    return images[train], labels[train], images[test], labels[test]


def batches(count: int, size: int, epochs: int) -> Iterator[Tensor]:
    """Yield the indices of this rank's part of each batch. The batches are the same on all ranks."""
    random = torch.Generator().manual_seed(1)
    for _ in range(epochs):
        order = torch.randperm(count, generator=random)
        for start in range(0, count - size + 1, size):
            yield order[start : start + size].chunk(dist.get_world_size())[dist.get_rank()]


def train(name: str, model: nn.Module, arguments: argparse.Namespace) -> dict[str, object]:
    """Train a model; return its losses by step, its accuracy and the mean time of a step in seconds."""
    images, labels, test_images, test_labels = digits()
    ddp = DistributedDataParallel(model)
    optimizer = torch.optim.Adam(ddp.parameters(), lr=2e-3)
    losses: list[float] = []
    begun = time.monotonic()
    for step, part in enumerate(batches(len(labels), 100, arguments.epochs), 1):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(ddp(images[part]), labels[part])
        loss.backward()
        optimizer.step()
        mean = loss.detach().clone()
        dist.all_reduce(mean)
        losses.append(mean.item() / dist.get_world_size())
        if dist.get_rank() == 0 and step % 14 == 0:
            print(f"{name}: step {step}, loss {losses[-1]:.4f}", flush=True)
    seconds = (time.monotonic() - begun) / len(losses)
    with torch.no_grad():
        accuracy = (model(test_images).argmax(1) == test_labels).float().mean().item()
    if dist.get_rank() == 0:
        print(f"{name}: accuracy {accuracy:.1%}, {1000 * seconds:.0f} ms a step", flush=True)
    return {"losses": losses, "accuracy": accuracy, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description="Train on handwritten digits with DDP.")
    parser.add_argument("--backend", default="midflight", help="of torch.distributed, such as gloo or midflight")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--model", choices=["both", "convolutional", "transformer"], default="both")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write losses, accuracies and times of steps")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")

    torch.set_num_threads(1)
    dist.init_process_group(arguments.backend, timeout=timedelta(minutes=5))
    models = {"convolutional": convolutional, "transformer": Transformer}
    results = {}
    for name, make in models.items():
        if arguments.model in ("both", name):
            torch.manual_seed(0)
            results[name] = train(name, make(), arguments)
    if arguments.json is not None and dist.get_rank() == 0:
        arguments.json.write_text(json.dumps(results))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
