"""The embedded switch as a device, and devices by name."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from midflight.errors import DeviceError, P4Error
from midflight.runtime.devices import Device, HostDevice, capabilities, open_device
from midflight.runtime.engine import Packets
from midflight.runtime.p4runtime.client.session import Session
from tests.p4runtime.support import EVERYTHING, ipv4

ROUTE = {"hdr.ipv4.destination": "10.0.0.0/8"}


def test_a_device_keeps_its_program_if_another_is_invalid() -> None:
    with HostDevice(EVERYTHING) as device, device.session() as session:
        assert isinstance(device, Device)
        session.insert("route", ROUTE, "to_port", {"port": 2, "mac": 1})
        with pytest.raises(P4Error) as wrong:
            device.load(EVERYTHING.replace("mark_to_drop", "mark_to_dorp"), "mine.p4")
        assert wrong.value.place is not None
        assert wrong.value.place.file == "mine.p4"
        assert [port for port, _ in device.process(Packets.from_list([(1, ipv4("10.0.0.1"))]))] == [2]
        device.load(EVERYTHING)
        assert session.read_table("route") == []


@pytest.mark.parametrize("number", [-1, 511, 70_000])
def test_port_numbers_out_of_range_are_refused(number: int) -> None:
    with pytest.raises(DeviceError, match=f"ports are 0 to 510, not {number}"):
        HostDevice(EVERYTHING, interfaces={number: "lo"})


def test_batches_that_do_not_fit_are_refused() -> None:
    with HostDevice(EVERYTHING) as device:
        batch = Packets.from_list([(1, ipv4("10.0.0.1"))] * 2)
        for times in (np.zeros(1, np.uint64), np.zeros(2, np.int64), np.zeros(4, np.uint64)[::2]):
            with pytest.raises(ValueError, match="times must be a contiguous array of 2 uint64"):
                device.process(batch, times=times)  # type: ignore[arg-type]
    for port in (-1, 1 << 16):
        with pytest.raises(ValueError, match="a port is 0 to 65535"):
            Packets.from_list([(port, b"")])


def test_devices_by_name() -> None:
    with open_device("host", EVERYTHING, device_id=7) as device:
        assert device.device_id == 7
        assert device.capabilities == capabilities("host")
        assert device.capabilities.registers_over_p4runtime
        with Session(device.address, 7) as session:
            assert session.is_primary
        with pytest.raises(DeviceError, match="device is 7, not 1"):
            Session(device.address, 1)
    with pytest.raises(DeviceError, match=r"(?s)no device 'tofino'.*bmv2, host"):
        open_device("tofino")


def test_listing_devices_imports_no_compiler() -> None:
    code = (
        "import sys, midflight.runtime.devices; print(sorted({'llvmlite', 'grpc', 'finsy', 'lark'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_an_address_in_use_is_reported_and_released_on_close() -> None:
    with HostDevice() as first:
        with pytest.raises(DeviceError, match=f"cannot listen on {first.address}"):
            HostDevice(address=first.address)
        address = first.address
    with HostDevice(address=address) as second:
        assert second.address == address
        second.close()
        second.close()


def test_a_switch_listens_on_loopback_by_default() -> None:
    with HostDevice() as device:
        assert device.address.startswith("127.0.0.1:")


def test_a_unix_socket_is_an_address(tmp_path_factory: pytest.TempPathFactory) -> None:
    address = f"unix:{tmp_path_factory.mktemp('s')}/p4"
    with HostDevice(EVERYTHING, address=address) as device, device.session() as session:
        assert (device.address, session.is_primary) == (address, True)


def test_batches_of_writes_are_atomic_for_packets() -> None:
    """During packets, a batch swaps two entries: no packet sees both entries or neither."""
    ports = np.zeros(512, np.int64)
    stop = threading.Event()
    with HostDevice(EVERYTHING) as device, device.session() as session:
        session.insert("route", {"hdr.ipv4.destination": "10.0.0.1"}, "to_port", {"port": 1, "mac": 1})
        packets = Packets.from_list([(1, ipv4("10.0.0.1")), (1, ipv4("10.0.0.2"))])

        def run() -> None:
            while not stop.is_set():
                left = [port for port, _ in device.process(packets)]
                assert len(left) == 1
                ports[left] += 1

        errors: list[BaseException] = []

        def guarded() -> None:
            try:
                run()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=guarded)
        thread.start()
        for turn in range(60):
            here, there = (1, 2) if turn % 2 == 0 else (2, 1)
            with session.batch():
                session.delete("route", {"hdr.ipv4.destination": f"10.0.0.{here}"})
                session.insert(
                    "route", {"hdr.ipv4.destination": f"10.0.0.{there}"}, "to_port", {"port": there, "mac": 1}
                )
        stop.set()
        thread.join()
    assert not errors
    assert ports[1] > 0
