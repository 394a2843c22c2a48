"""Digest lists from the data plane to its controllers (P4Runtime specification 1.5, section 9.7)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from finsy.proto import p4r

from midflight.runtime.engine import Digest
from midflight.runtime.p4runtime.schema import Schema
from midflight.runtime.p4runtime.status import Code, Refusal
from midflight.runtime.p4runtime.values import encode_data

__all__ = ["DigestBook"]

Message = tuple[int, ...]

UNACKNOWLEDGED = 1 << 14
"""The maximum number of unacknowledged messages of one digest. More are dropped and counted."""

LONGEST = 4096
"""The maximum number of messages in one list, even with a larger `max_list_size`."""


class _Sent:
    """The unacknowledged messages of one digest that have not timed out. Operations take constant time per message."""

    def __init__(self) -> None:
        self._messages: dict[Message, int] = {}  # the list that contains each
        self._lists: OrderedDict[int, tuple[int, list[Message]]] = OrderedDict()  # with their times, oldest first

    def __contains__(self, message: Message) -> bool:
        return message in self._messages

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, number: int, listed: list[Message], now: int) -> None:
        """Add a list that was sent."""
        self._lists[number] = now, listed
        self._messages.update((each, number) for each in listed)

    def drop(self, number: int) -> None:
        """Remove a list."""
        for each in self._lists.pop(number, (0, []))[1]:
            if self._messages.get(each) == number:
                del self._messages[each]

    def expire(self, before: int) -> None:
        """Remove the lists that were sent at `before` or earlier."""
        while self._lists:
            number = next(iter(self._lists))
            if self._lists[number][0] > before:
                return
            self.drop(number)


class DigestBook:
    """The enabled digests and their unacknowledged messages. `dropped` counts messages beyond `UNACKNOWLEDGED`.

    At the end of a batch of packets, incomplete lists are sent as well. Nothing therefore waits for `max_timeout_ns`,
    and the lists depend only on the packets.
    """

    def __init__(self, schema: Schema) -> None:
        self.configs: dict[int, p4r.DigestEntry.Config] = {}
        self.dropped = 0
        self._schema = schema
        self._sent: dict[int, _Sent] = {}
        self._last = 0

    def lists(self, messages: Iterable[Digest], now: int) -> list[p4r.DigestList]:
        """Return the lists to send for the messages of a batch that ended at `now`, in microseconds.

        Messages of digests that are not enabled are ignored, and so are messages that equal one in the same list or an
        unacknowledged one. Beyond the limit of unacknowledged messages, further ones are dropped and counted in
        `dropped`.
        """
        by_name = {each.preamble.name: each.preamble.id for each in self._schema.digests}
        waiting: dict[int, dict[Message, None]] = {}
        lists = []
        for number, each in self.configs.items():
            self._sent.setdefault(number, _Sent()).expire(now * 1000 - each.ack_timeout_ns)
        for message in messages:
            number = by_name.get(message.name, 0)
            config = self.configs.get(number)
            if config is None:
                continue
            listed, sent = waiting.setdefault(number, {}), self._sent[number]
            if message.values in listed or message.values in sent:
                continue
            if len(sent) + len(listed) >= UNACKNOWLEDGED:
                self.dropped += 1
                continue
            listed[message.values] = None
            wanted = config.max_list_size if config.max_timeout_ns else 1
            if len(listed) == min(wanted or LONGEST, LONGEST):
                lists.append(self._list(number, list(waiting.pop(number)), now * 1000))
        return lists + [self._list(number, list(listed), now * 1000) for number, listed in waiting.items() if listed]

    def acknowledge(self, digest_id: int, list_id: int) -> None:
        """Acknowledge a list, so that its messages may be sent again. Ignores an unknown list.

        Raises Refusal with INVALID_ARGUMENT for an unknown digest.
        """
        self._schema.digests.of_id(digest_id)
        if digest_id in self._sent:
            self._sent[digest_id].drop(list_id)

    def insert(self, digest_id: int, config: p4r.DigestEntry.Config) -> None:
        """Enable a digest.

        Raises Refusal with ALREADY_EXISTS if it is enabled, and with INVALID_ARGUMENT for an unknown digest.
        """
        name = self._name(digest_id)
        if digest_id in self.configs:
            raise Refusal(Code.ALREADY_EXISTS, f"{name} is already enabled")
        self.configs[digest_id] = config

    def modify(self, digest_id: int, config: p4r.DigestEntry.Config) -> None:
        """Change an enabled digest's configuration.

        Raises Refusal with NOT_FOUND if it is not enabled, and with INVALID_ARGUMENT for an unknown digest.
        """
        self.read(digest_id)
        self.configs[digest_id] = config

    def delete(self, digest_id: int) -> None:
        """Disable a digest, and forget its messages.

        Raises Refusal with NOT_FOUND if it is not enabled, and with INVALID_ARGUMENT for an unknown digest.
        """
        self.read(digest_id)
        del self.configs[digest_id]
        self._sent.pop(digest_id, None)

    def read(self, digest_id: int) -> p4r.DigestEntry.Config:
        """Return an enabled digest's configuration.

        Raises Refusal with NOT_FOUND if it is not enabled, and with INVALID_ARGUMENT for an unknown digest.
        """
        name = self._name(digest_id)
        if digest_id not in self.configs:
            raise Refusal(Code.NOT_FOUND, f"{name} is not enabled")
        return self.configs[digest_id]

    def _name(self, digest_id: int) -> str:
        return f"digest {self._schema.digests.of_id(digest_id).preamble.name}"

    def _list(self, number: int, listed: list[Message], now: int) -> p4r.DigestList:
        digest = self._schema.digests.of_id(number)
        self._last += 1
        if self.configs[number].ack_timeout_ns:
            self._sent[number].add(self._last, listed, now)
        message = p4r.DigestList(digest_id=number, list_id=self._last, timestamp=now)
        for values in listed:
            message.data.append(encode_data(digest.type_spec, self._schema.types, list(values)))
        return message
