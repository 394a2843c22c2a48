"""Classes have at most one base class in this package, except primitives, which users and the library derive."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ["labs", "testbed", "runtime", "p4", "cli"]
# Scripts that run in another interpreter or inside Mininet.
ELSEWHERE = ("mininet.py", "shell_runner.py", "__main__.py", "launch.py")
# Programs of labs, which are users' code and derive primitives.
USERS = {"starter", "solution"}


def modules(room: str) -> list[str]:
    paths = sorted((ROOT / "midflight" / room).rglob("*.py"))
    return [
        ".".join(each.relative_to(ROOT).with_suffix("").parts)
        for each in paths
        if each.name not in ELSEWHERE and USERS.isdisjoint(each.parts)
    ]


@pytest.mark.parametrize("room", ROOMS)
def test_a_class_has_at_most_one_base_class_in_this_package(room: str) -> None:
    chains = []
    for name in modules(room):
        for made in vars(importlib.import_module(name.removesuffix(".__init__"))).values():
            if inspect.isclass(made) and made.__module__ == name.removesuffix(".__init__"):
                above = [each for each in made.__mro__[1:] if each.__module__.startswith("midflight.")]
                ours = [each.__name__ for each in above if each.__module__ != "midflight.errors"]
                if len(ours) > 1:
                    chains.append(f"{name}.{made.__name__}: {' > '.join(ours)}")
    assert not chains
