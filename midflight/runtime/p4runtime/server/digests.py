"""Digest lists: what the data plane tells its controllers (P4Runtime specification 1.5, section 9.7)."""

from __future__ import annotations

from collections.abc import Iterable

from finsy.proto import p4r

from midflight.runtime.engine import Digest
from midflight.runtime.p4runtime.schema import Schema
from midflight.runtime.p4runtime.status import Code, Refusal
from midflight.runtime.p4runtime.values import encode_data

__all__ = ["DigestBook"]

Message = tuple[int, ...]


class DigestBook:
    """Which digests are enabled, and which messages await their acknowledgement.

    What a list still has room for at the end of a batch of packets goes out then, so nothing waits longer than
    `max_timeout_ns` and what is sent depends on the packets alone.
    """

    def __init__(self, schema: Schema) -> None:
        self.configs: dict[int, p4r.DigestEntry.Config] = {}
        self._schema = schema
        self._sent: dict[tuple[int, int], tuple[int, list[Message]]] = {}
        self._last = 0

    def lists(self, messages: Iterable[Digest], now: int) -> list[p4r.DigestList]:
        """Return the lists to send for the messages of a batch that ended at `now` (microseconds)."""
        by_name = {each.preamble.name: each.preamble.id for each in self._schema.digests}
        waiting: dict[int, list[Message]] = {}
        lists = []
        for message in messages:
            number = by_name.get(message.name, 0)
            config = self.configs.get(number)
            if config is None:
                continue
            listed = waiting.setdefault(number, [])
            if message.values in listed or message.values in self._unacknowledged(number, now * 1000):
                continue
            listed.append(message.values)
            if len(listed) == (config.max_list_size if config.max_timeout_ns else 1):
                lists.append(self._list(number, waiting.pop(number), now * 1000))
        return lists + [self._list(number, listed, now * 1000) for number, listed in waiting.items() if listed]

    def acknowledge(self, digest_id: int, list_id: int) -> None:
        """Let the messages of a list be sent again; refused with INVALID_ARGUMENT for an unknown digest."""
        self._schema.digests.of_id(digest_id)
        self._sent.pop((digest_id, list_id), None)

    def insert(self, digest_id: int, config: p4r.DigestEntry.Config) -> None:
        """Enable a digest."""
        if digest_id in self.configs:
            raise Refusal(Code.ALREADY_EXISTS, f"{self._name(digest_id)} is enabled already")
        self.configs[digest_id] = config

    def modify(self, digest_id: int, config: p4r.DigestEntry.Config) -> None:
        """Change an enabled digest's configuration."""
        self.read(digest_id)
        self.configs[digest_id] = config

    def delete(self, digest_id: int) -> None:
        """Disable a digest and forget what it sent."""
        self.read(digest_id)
        del self.configs[digest_id]
        self._sent = {key: value for key, value in self._sent.items() if key[0] != digest_id}

    def read(self, digest_id: int) -> p4r.DigestEntry.Config:
        """Return an enabled digest's configuration; refused with NOT_FOUND."""
        name = self._name(digest_id)
        if digest_id not in self.configs:
            raise Refusal(Code.NOT_FOUND, f"{name} is not enabled")
        return self.configs[digest_id]

    def _name(self, digest_id: int) -> str:
        return f"digest {self._schema.digests.of_id(digest_id).preamble.name}"

    def _unacknowledged(self, number: int, now: int) -> set[Message]:
        """Return the messages of the lists that were neither acknowledged nor given up at `now` (nanoseconds)."""
        timeout = self.configs[number].ack_timeout_ns
        for key, (sent, _) in list(self._sent.items()):
            if key[0] == number and now - sent >= timeout:
                del self._sent[key]
        return {each for key, (_, listed) in self._sent.items() if key[0] == number for each in listed}

    def _list(self, number: int, listed: list[Message], now: int) -> p4r.DigestList:
        digest = self._schema.digests.of_id(number)
        self._last += 1
        if self.configs[number].ack_timeout_ns:
            self._sent[number, self._last] = now, listed
        message = p4r.DigestList(digest_id=number, list_id=self._last, timestamp=now)
        for values in listed:
            message.data.append(encode_data(digest.type_spec, self._schema.types, list(values)))
        return message
