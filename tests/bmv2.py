"""Marks for tests that need p4lang's tools or root: they skip with a reason where those are missing."""

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
"""Of a test that compiles with p4c or starts a BMv2 switch: `pytestmark = BMV2`."""

ROOT = [pytest.mark.root, pytest.mark.skipif(bool(_unable), reason=_unable)]
"""Of a test that makes network namespaces."""

PING = pytest.mark.skipif(shutil.which("ping") is None, reason="ping is not on PATH")
"""Of a test in which a host runs ping."""

# A release build of BMv2 checks no index: a counter of eight cells and the controller's port would not do.
_count = "arrivals.count((bit<32>) standard_metadata.ingress_port);"
PROGRAM = EVERYTHING.replace(_count, f"if (standard_metadata.ingress_port < 8) {{ {_count} }}")
"""A program with a bit of everything."""
assert PROGRAM != EVERYTHING
