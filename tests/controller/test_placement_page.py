"""docs/placement.md: its commands and files run as shown."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.bmv2 import BMV2, ROOT
from tests.bpf.build import needs_bpf

pytestmark = [*ROOT, *BMV2, needs_bpf]

PAGE = Path(__file__).parents[2] / "docs" / "placement.md"
BLOCKS = re.findall(r"^```(sh|python|yaml)\n(.*?)^```", PAGE.read_text(), re.S | re.M)
# In any case, the processes of the page end, and its namespaces are removed.
HARNESS = """
set -eu
end() {
    kill -9 $(jobs -p) 2> /dev/null
    for each in h1 h2 h3 h4 g edge one two rack; do ip netns delete mf-$each; done
}
trap 'end 2> /dev/null || true' EXIT
"""


def test_the_page_runs(tmp_path: Path) -> None:
    script = [HARNESS]
    for kind, text in BLOCKS:
        if kind == "sh":
            script.append(text)
        else:
            (tmp_path / text.splitlines()[0].removeprefix("# ")).write_text(text)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with (tmp_path / "output").open("w+") as output:
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=300,
            check=False,
        )
        output.seek(0)
        reported = output.read()
    logs = "\n".join(each.read_text() for each in tmp_path.glob("*.log"))
    assert done.returncode == 0, f"{reported}\n{logs}"
    assert "job 1: epochs" in reported, "the failure is noticed"
    assert "job 2: the totals of 39 sensors are those of the oracle" in reported
    assert "alerts are those of the oracle" in reported
    assert "Traceback" not in reported + logs
