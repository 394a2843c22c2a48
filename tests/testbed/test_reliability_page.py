"""docs/reliability.md: its example runs, and all faults in it occur."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from midflight.testbed import Star
from midflight.testbed.group import Group

PAGE = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text()


def test_the_example_runs_and_all_of_its_faults_occur() -> None:
    [example] = re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)
    scope: dict[str, Any] = {}
    exec(example, scope)
    net, group, arrays, sums = (scope[each] for each in ("net", "group", "arrays", "sums"))
    assert isinstance(net, Star)
    assert net.now > 1_500_000, "the run lasts until the last fault"
    assert group.hosts == (net.hosts[3], *net.hosts[1:3])
    for each in sums:
        np.testing.assert_array_equal(each, sums[0])
        np.testing.assert_allclose(each, np.sum(arrays, axis=0, dtype=np.float64), atol=1e-5)


def test_every_call_in_the_table_exists() -> None:
    calls = re.findall(r"^\| `(group|net)\.(\w+)\(", PAGE, re.M)
    assert len(calls) == 7
    for whose, name in calls:
        assert callable(getattr(Group if whose == "group" else Star, name))
