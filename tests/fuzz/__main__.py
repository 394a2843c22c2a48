"""Fuzz for as long as wanted: `python -m tests.fuzz [TARGET...] --seconds 3600`."""

from __future__ import annotations

import argparse
import os
import resource
import sys
from pathlib import Path

from tests.fuzz.campaign import Campaign
from tests.fuzz.targets import targets

MEMORY = 6 << 30
"""The memory of a campaign in bytes. A MemoryError is a crash."""


def main() -> int:
    """Run the targets in turn. The exit status is 1 where anything crashed."""
    known = targets()
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", help=f"{', '.join(known)}; all of them by default")
    parser.add_argument("--seconds", type=float, default=3600.0, help="for each target")
    parser.add_argument("--count", type=int, default=sys.maxsize, help="the largest number of inputs for each target")
    parser.add_argument("--seed", type=int, help="of the mutations; another one each time by default")
    parser.add_argument(
        "--corpus", type=Path, help="the folder of the corpora; $MIDFLIGHT_FUZZ, or in the cache folder"
    )
    wanted = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    if unknown := [each for each in wanted.target if each not in known]:
        parser.error(f"there is no target {unknown[0]}")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = wanted.corpus or Path(os.environ.get("MIDFLIGHT_FUZZ") or cache / "midflight" / "fuzz")
    seed = int.from_bytes(os.urandom(4)) if wanted.seed is None else wanted.seed
    crashed = False
    for name in wanted.target or known:
        campaign = Campaign(known[name], seed, folder / name)
        campaign.run(wanted.count, wanted.seconds)
        said = [
            f"{name}: {campaign.count} inputs with seed {seed}, {len(campaign.outcomes)} outcomes,"
            f" {len(campaign.crashes)} crashes, the slowest took {campaign.slowest:.1f} s",
            *campaign.crashes,
        ]
        sys.stdout.write("\n    ".join(said) + "\n")
        sys.stdout.flush()
        crashed |= bool(campaign.crashes)
    return int(crashed)


if __name__ == "__main__":
    sys.exit(main())
