"""ptf's test cases on a switch of the pytest plugin. Install ptf beside Midflight to run this."""

from __future__ import annotations

import pytest

from tests.testing.projects import project, run

pytest_plugins = ["pytester"]

pytest.importorskip("ptf", reason="ptf is not installed")

TESTS = """\
import ptf
from ptf import testutils
from ptf.base_tests import BaseTest
from ptf.mask import Mask
from scapy.all import IP

from midflight.testing.ptf import dataplane


class Base(BaseTest):
    @pytest.fixture(autouse=True)
    def switch(self, p4_switch):
        with dataplane(router(p4_switch)):
            yield

    def setUp(self):
        super().setUp()
        self.dataplane = ptf.dataplane_instance
        self.packet = testutils.simple_udp_packet(ip_dst="10.0.2.2")
        testutils.send_packet(self, 1, self.packet)


class Forwarded(Base):
    def runTest(self):
        expected = Mask(testutils.simple_udp_packet(ip_dst="10.0.2.2", eth_dst="02:00:00:00:00:05", ip_ttl=63))
        expected.set_do_not_care_packet(IP, "chksum")
        testutils.verify_packet(self, expected, 2)
        testutils.verify_no_other_packets(self)


class Text(Base):
    def runTest(self):
        assert self.dataplane.send(0, 1, "02 00 00 00") == 4


class Wrong(Base):
    def runTest(self):
        testutils.verify_packet(self, self.packet, 2)


class Nothing(Base):
    def runTest(self):
        testutils.verify_no_packet(self, self.packet, 3)
        testutils.verify_no_other_packets(self)  # the forwarded packet is there
"""


@pytest.mark.parametrize("device", ["host", "bmv2"])
def test_test_cases_of_ptf(pytester: pytest.Pytester, device: str) -> None:
    project(pytester, TESTS)
    done = run(pytester, f"--midflight-device={device}", "-v")
    if "SKIPPED" in str(done.stdout):
        pytest.skip("no BMv2 here")
    done.assert_outcomes(passed=2, failed=2)
    done.stdout.fnmatch_lines(
        ["*Forwarded::runTest* PASSED*", "*Wrong::runTest* FAILED*", "*Nothing::runTest* FAILED*"]
    )
