"""Marks for tests that need p4lang's tools or root: they skip with a reason where those are missing."""

from __future__ import annotations

import os
import shutil

import pytest

from midflight.runtime.devices.toolchain import P4C, SIMPLE_SWITCH_GRPC

__all__ = ["BMV2", "ROOT"]

_missing = next(filter(None, (P4C.missing, SIMPLE_SWITCH_GRPC.missing)), "")
_unable = "root is needed for network namespaces" if os.geteuid() else "" if shutil.which("ip") else "no ip command"

BMV2 = [pytest.mark.bmv2, pytest.mark.skipif(bool(_missing), reason=_missing)]
"""Of a test that compiles with p4c or starts a BMv2 switch: `pytestmark = BMV2`."""

ROOT = [pytest.mark.root, pytest.mark.skipif(bool(_unable), reason=_unable)]
"""Of a test that makes network namespaces."""
