"""Marks for tests that need p4lang's tools or root, which are skipped with a reason if these are missing."""

from __future__ import annotations

import os
import shutil

import pytest

from midflight.runtime.devices.toolchain import P4C, SIMPLE_SWITCH_GRPC
from tests.p4runtime.support import EVERYTHING

__all__ = ["BMV2", "PING", "PROGRAM", "ROOT"]

_missing = next(filter(None, (P4C.missing, SIMPLE_SWITCH_GRPC.missing)), "")
_unable = "root is needed for network namespaces" if os.geteuid() else "" if shutil.which("ip") else "no ip command"

BMV2 = [pytest.mark.bmv2, pytest.mark.skipif(bool(_missing), reason=_missing)]
"""For tests that compile with p4c or start a BMv2 switch: `pytestmark = BMV2`."""

ROOT = [pytest.mark.root, pytest.mark.skipif(bool(_unable), reason=_unable)]
"""For tests that create network namespaces."""

PING = pytest.mark.skipif(shutil.which("ping") is None, reason="ping is not on PATH")
"""For tests in which a host runs ping."""

# A release build of BMv2 checks no indexes, so the counter has cells for all ports, including the controller's.
_count = "arrivals.count((bit<32>) standard_metadata.ingress_port);"
PROGRAM = EVERYTHING.replace(_count, f"if (standard_metadata.ingress_port < 8) {{ {_count} }}")
"""A program that uses many features."""
assert PROGRAM != EVERYTHING
