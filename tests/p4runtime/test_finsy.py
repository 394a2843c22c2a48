"""A third-party controller: finsy, used as in its documentation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import finsy
import pytest
from finsy.proto import p4i

from midflight.p4.p4info import to_text
from midflight.runtime.devices import HostDevice
from midflight.runtime.engine import Packets
from tests.p4runtime.support import EVERYTHING, ipv4, other


def read(switch: finsy.Switch, what: object) -> AsyncIterator[Any]:
    """Read with finsy's method, whose declared type is a coroutine of what it actually returns."""
    return cast(AsyncIterator[Any], switch.read(what))


def control(device: HostDevice, work: Callable[[finsy.Switch], Awaitable[None]], **options: object) -> None:
    async def run() -> None:
        switch = finsy.Switch("sw1", device.address, finsy.SwitchOptions(initial_election_id=1 << 50, **options))  # type: ignore[arg-type]
        async with asyncio.timeout(20), switch:
            await work(switch)

    asyncio.run(run())


def test_finsy_pushes_a_pipeline_and_uses_all_features(info: p4i.P4Info, tmp_path: Path) -> None:
    described, program = tmp_path / "p4info.txtpb", tmp_path / "program.p4"
    described.write_text(to_text(info))
    program.write_text(EVERYTHING)

    async def work(switch: finsy.Switch) -> None:
        await switch.delete_all()
        await switch.insert(
            [
                finsy.P4TableEntry(
                    "route",
                    match=finsy.Match({"hdr.ipv4.destination": "10.0.0.0/8"}),
                    action=finsy.Action("to_port", port=3, mac="02:00:00:00:00:03"),
                ),
                finsy.P4TableEntry(
                    "acl",
                    match=finsy.Match({"hdr.ipv4.source": "10.0.0.0/8", "standard_metadata.ingress_port": 1}),
                    action=finsy.Action("classify", **{"class": 2}),
                    priority=5,
                ),
                finsy.P4MulticastGroupEntry(7, replicas=[1, 2, 3]),
                finsy.P4DigestEntry("seen_t", max_list_size=1),
            ]
        )
        digests, packets = switch.read_digests("seen_t"), switch.read_packets()
        first_digest, first_packet = asyncio.ensure_future(anext(digests)), asyncio.ensure_future(anext(packets))
        await asyncio.sleep(0)

        batch = Packets.from_list([(1, ipv4("10.1.1.1", "10.2.2.2")), (6, other())])
        output = await asyncio.to_thread(device.process, batch)
        assert [port for port, _ in output] == [3]
        assert (await first_digest).data[0] == {"source": 0x0A020202, "ttl": 64}
        arrived = await first_packet
        assert (arrived.payload, arrived["ingress_port"]) == (other(), 6)
        await digests.aclose()  # type: ignore[attr-defined]
        await packets.aclose()  # type: ignore[attr-defined]

        await switch.write([finsy.P4PacketOut(other(), egress_port=9)])
        found = [entry async for entry in read(switch, finsy.P4TableEntry())]
        assert {entry.table_id for entry in found} == {"route", "acl", "fixed"}
        counted = finsy.P4DirectCounterEntry("routed", table_entry=found[0])
        assert [entry.data async for entry in read(switch, counted)] == [
            finsy.P4CounterData(packet_count=1, byte_count=0)
        ]
        cells = [entry async for entry in read(switch, finsy.P4RegisterEntry("totals"))]
        assert [cell.data for cell in cells][2] == len(ipv4("10.1.1.1")) - 14
        groups = [entry async for entry in read(switch, finsy.P4MulticastGroupEntry())]
        assert [group.replicas for group in groups] == [((1), (2), (3))]
        with pytest.raises(finsy.P4ClientError) as refused:
            await switch.insert([found[0]])
        assert refused.value.details[0].canonical_code == finsy.GRPCStatusCode.ALREADY_EXISTS
        await switch.delete_all()

    with HostDevice() as device:
        control(device, work, p4info=described, p4blob=program)


def test_finsy_reads_the_existing_pipeline(device: HostDevice) -> None:
    async def work(switch: finsy.Switch) -> None:
        assert switch.is_primary
        assert {table.alias for table in switch.p4info.tables} == {"route", "acl", "fixed"}
        await switch.write([+finsy.P4MulticastGroupEntry(7, replicas=[1])])

    control(device, work)
