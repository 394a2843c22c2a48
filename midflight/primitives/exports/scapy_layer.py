"""scapy layers generated from a wire schema, to build and dissect packets. Needs the extra `scapy`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from midflight.errors import WireError

if TYPE_CHECKING:
    from scapy.fields import Field
    from scapy.packet import Packet

__all__ = ["Layers", "class_name", "layers"]


@dataclass(frozen=True, slots=True)
class Layers:
    """The generated classes, subclasses of scapy's Packet: the common header, and one for each application by name."""

    common: type[Any]
    applications: Mapping[str, type[Any]]


def layers(schema: Mapping[str, Any], *, bind: bool = False) -> Layers:
    """Return the scapy layers for a wire schema, the dict of `Program.schema()`.

    WireError if scapy is not installed.

    `Midflight(kind=1, application=1, sequence=7) / Gradients(slot=0, values=[1, 2])` is a UDP payload. When a common
    header is dissected, it selects its application's layer by id. With `bind`, scapy's UDP dissects the schema's UDP
    port as the common header from then on, everywhere in the process.
    """
    try:
        from scapy.fields import ByteField, IntField, LongField, ShortField
        from scapy.layers.inet import UDP
        from scapy.packet import Packet, Raw, bind_layers
    except ImportError:
        raise WireError("scapy is not installed", hint="pip install 'midflight[scapy]'") from None

    applications: dict[str, type[Packet]] = {}
    by_id: dict[int, type[Packet]] = {}
    for name, each in schema["applications"].items():
        fields, position = [], 0
        items = each.get("items")
        own = len(each["fields"]) - (items["fields"] * items["capacity"] if items else 0)
        for field in each["fields"][:own]:
            fields += _fields(field, aligned=position % 8 == 0)
            position += field["bits"] * (field["count"] or 1)
        if padding := 8 * each["bytes"] - position:
            fields += _fields({"name": "reserved", "bits": padding, "signed": False, "count": None})
        for place in range(items["capacity"] if items else 0):
            start = own + place * items["fields"]
            fields += _item(items, place, each["fields"][start : start + items["fields"]])
        layer = type(class_name(name), (Packet,), {"name": name, "fields_desc": fields})
        applications[name] = by_id[each["id"]] = layer

    def guess_payload_class(self: Any, _: bytes) -> type[Packet]:
        return by_id.get(self.application, Raw) if self.version == schema["version"] else Raw

    common = type(
        "Midflight",
        (Packet,),
        {
            "name": "midflight",
            "fields_desc": [
                ByteField("version", schema["version"]),
                ByteField("kind", 1),
                ShortField("application", min(by_id, default=0)),
                IntField("sequence", 0),
                LongField("token", 0),
            ],
            "guess_payload_class": guess_payload_class,
        },
    )
    if bind:
        bind_layers(UDP, common, dport=schema["udp_port"])
        bind_layers(UDP, common, sport=schema["udp_port"])
    return Layers(common, applications)


def class_name(name: str) -> str:
    """Return the class name of an application's layer: `Gradients` for gradients, `HotKeys` for hot_keys."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _item(items: Mapping[str, Any], place: int, described: Sequence[Mapping[str, Any]]) -> list[Field[Any, Any]]:
    """Return the scapy fields of one item, which are present if the packet has that many items."""
    from scapy.fields import ConditionalField

    fields: list[Any] = []
    position = 0
    for field in described:
        fields += _fields(field, aligned=position % 8 == 0)
        position += field["bits"] * (field["count"] or 1)
    if padding := 8 * items["bytes"] - position:
        name = f"{items['name']}_{place}_reserved"
        fields += _fields({"name": name, "bits": padding, "signed": False, "count": None})

    def present(packet: Any) -> bool:
        return bool(packet.getfieldval(items["count"]) > place)

    made: list[Any] = [ConditionalField(each, present) for each in fields]
    return made


def _fields(field: Mapping[str, Any], *, aligned: bool = True) -> list[Field[Any, Any]]:
    """Return the scapy fields of one field of the schema: `name_0`, `name_1`, ... if lanes do not fill whole bytes."""
    from scapy import fields as kinds

    class SignedBitField(kinds.BitField):
        """A number in two's complement, of any width."""

        def i2m(self, _: Any, value: Any) -> int:
            return int(value or 0) & ((1 << self.size) - 1)

        def m2i(self, _: Any, value: Any) -> int:
            return int(value) - (1 << self.size) if int(value) >> (self.size - 1) else int(value)

    name, bits, signed, count = field["name"], field["bits"], field["signed"], field["count"]
    whole = {
        (8, False): kinds.ByteField,
        (16, False): kinds.ShortField,
        (32, False): kinds.IntField,
        (64, False): kinds.LongField,
        (8, True): kinds.SignedByteField,
        (16, True): kinds.SignedShortField,
        (32, True): kinds.SignedIntField,
        (64, True): kinds.SignedLongField,
    }.get((bits, signed))
    if count is None:
        return [(SignedBitField if signed else kinds.BitField)(name, 0, bits)]
    if whole is not None and aligned:
        zeros: list[Any] = [0] * count
        return [kinds.FieldListField(name, zeros, whole("", 0), count_from=lambda _: count)]
    return [made for lane in range(count) for made in _fields({**field, "name": f"{name}_{lane}", "count": None})]
