"""Cache: values of hot keys, which the switch answers; writes go to the server."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.errors import KernelError
from midflight.primitives.kernel.arithmetic import hash_, sat_add
from midflight.primitives.language import Header, Map, Packet, Primitive, Register, bit, within
from midflight.primitives.library.membership import remember

__all__ = ["Cache"]


class Cache(Primitive):
    """Answer reads of cached keys, forward other requests to the server, and report hot keys that are not cached.

    Parameters:
        entries: how many keys can be cached (1 to 65536)
        lanes: 32-bit words of a value (1 to 64)
        item_bits: the width of a key (8 to 128)
        hot: how many reads that miss make a key hot (1 to 2**32 - 1)
        rows: how many hashes count misses, each with its own row of counters and row of bits (1 to 8)
        columns: counters in a row (1 to 2**20)
        keys: the initially cached keys, in the entries 0, 1, ... (at most `entries`)

    `operation` is `Cache.GET`, `PUT` or `DELETE`, from a client to the server, or `Cache.UPDATE` or `REMOVE`, from the
    server to the switch; the server may address these to itself, as the switch replies to them. Other operations are
    dropped, and so are an UPDATE or REMOVE with version 0.

    The switch replies to a GET of a valid entry with `status` `HIT`. It forwards other GETs to the server, with `MISS`
    if the key is not cached, or `INVALID` if the entry has no valid value. A PUT or DELETE invalidates the entry and
    goes to the server. An UPDATE makes the entry valid, a REMOVE leaves it without a value. The switch replies to both
    with the entry's contents and `STORED`, `OLDER` if the entry has a newer version, or `MISS` if the key is not
    cached. `hits` is the number of reads of the key that the switch has answered.

    Follows NetCache (SOSP 2017): an exact match from keys to entries, values in parallel arrays, hit counters, and a
    Count-Min sketch of misses with a Bloom filter, so that each hot key is reported once. The controller decides which
    keys are cached: it writes the map `cached`, and clears `misses` and `told` at the end of a period. Different here:
    the server decides when a write or deletion takes effect. It first sends the UPDATE or REMOVE, and answers the
    writer and all readers of the key after the switch has stored it. A read therefore never returns an older value than
    a read that ended before it began, even if packets are lost, duplicated or reordered
    (`midflight.runtime.endpoint.store`). Versions increase with each write or deletion of a key, are never 0, and are
    compared as serial numbers (RFC 1982). A repeated UPDATE is stored again, which revalidates an entry that a late PUT
    has invalidated.

    To cache a key, the controller clears the entry's `valid` and `version`, adds the key to the map, and asks the
    server for an UPDATE, or a REMOVE if the key has no value. To evict a key, it removes the key from the map and then
    notifies the server. The server answers reads of a cached key without a value.

    Counters saturate at 2**32 - 1. A key that shares all its counters with others may be reported as hot by mistake. A
    key that shares all its bits with reported ones is not reported in that period. State: 65 + 32 * `lanes` bits per
    entry and a key in the map; 33 * `rows` * `columns` bits for the misses.

    >>> store = Cache("store", entries=2, lanes=1, hot=2, keys=[7]).reference()
    >>> def send(operation, item, version=0, value=0):
    ...     fields = {
    ...         "operation": operation,
    ...         "status": 0,
    ...         "hits": 0,
    ...         "version": version,
    ...         "item": item,
    ...         "value": [value],
    ...     }
    ...     outcome = store.process(Message(REQUEST, "store", 1, fields))
    ...     return outcome.verdict.name, outcome.message.fields["status"], outcome.alerts
    >>> send(Cache.GET, 7) == ("FORWARD", Cache.INVALID, ())
    True
    >>> send(Cache.UPDATE, 7, 1, 42) == ("REPLY", Cache.STORED, ()) and send(Cache.GET, 7) == ("REPLY", Cache.HIT, ())
    True
    >>> send(Cache.PUT, 7) == send(Cache.GET, 7) == ("FORWARD", Cache.INVALID, ())
    True
    >>> send(Cache.REMOVE, 7, 2) == ("REPLY", Cache.STORED, ()) and send(Cache.UPDATE, 7, 1)[1] == Cache.OLDER
    True
    >>> send(Cache.GET, 7) == ("FORWARD", Cache.INVALID, ())
    True
    >>> [send(Cache.GET, 8)[2] for _ in range(3)]
    [(), ((8,),), ()]
    """

    FAMILY = "state"
    PAPER = "NetCache: Jin et al., SOSP 2017"
    OVERFLOW = "counters saturate at 2**32 - 1"

    GET = 1
    PUT = 2
    UPDATE = 3
    DELETE = 4
    REMOVE = 5

    HIT = 1
    MISS = 2
    INVALID = 3
    STORED = 4
    OLDER = 5
    SERVED = 6  # An answer from the server.
    ABSENT = 7  # An answer from the server: the key has no value.

    entries: int = 1024
    lanes: int = 8
    item_bits: int = 64
    hot: int = 128
    rows: int = 3
    columns: int = 4096
    keys: Sequence[int] = ()

    class Wire(Header):
        """A request and its answer, with the class's constants in `operation` and `status`; `item` is the key.

        `hits` counts the reads of the key that the switch has answered. `version` is the number of the key's latest
        write, or 1 for a cached key that was never written, and `value` the words of its value.
        """

        operation = bit[8]
        status = bit[8]
        hits = bit[32]
        version = bit[32]
        item = bit["item_bits"]
        value = bit[32].array("lanes")

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description, or too many keys."""
        within(self, "entries", 1, 2**16)
        within(self, "lanes", 1, 64)
        within(self, "item_bits", 8, 128)
        within(self, "hot", 1, 2**32 - 1)
        within(self, "rows", 1, 8)
        within(self, "columns", 1, 2**20)
        if len(self.keys) > self.entries:
            raise KernelError(f"{self.title}: {len(self.keys)} keys for {self.entries} entries", hint="raise entries")

    def setup(self) -> None:
        """Create the map from keys to entries, the entries' contents and hit counters, and the counters of misses.

        KernelError for a key that does not fit `item_bits`.
        """
        self.cached = Map(bit[self.item_bits], bit[16], size=self.entries)
        for entry, item in enumerate(self.keys):
            self.cached[item] = entry
        self.version = Register(bit[32], self.entries)
        self.valid = Register(bit[1], self.entries)
        self.value = Register(bit[32], self.entries, lanes=self.lanes)
        self.hits = Register(bit[32], self.entries)
        self.misses = Register(bit[32], self.columns, lanes=self.rows)
        self.told = Register(bit[1], self.columns, lanes=self.rows)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Answer a GET of a valid entry, apply an UPDATE or REMOVE, invalidate on a PUT or DELETE, and count misses.

        The class's description says which requests are replied to and which are forwarded.
        """
        getting = wire.operation == self.GET
        putting = wire.operation == self.PUT or wire.operation == self.DELETE
        removing = wire.operation == self.REMOVE
        updating = removing or wire.operation == self.UPDATE
        if not getting and not putting and (not updating or wire.version == 0):
            packet.drop()
            return
        entry = self.cached.get(wire.item, 0)
        if not self.cached.hit:
            wire.status = self.MISS
            if updating:
                packet.reply()
            elif getting:
                hot = True
                for row in range(self.rows):
                    column = hash_(wire.item, seed=row, range=self.columns)
                    count = self.misses[row].update_fetch(column, lambda old: sat_add(old, 1))
                    hot = hot and count >= self.hot
                if hot:
                    told = remember(self.told, self.rows, wire.item, new=True, seed=self.rows)
                    if not told:
                        packet.alert(wire.item)
            return

        version = self.version.update_fetch(
            entry,
            lambda old: wire.version if updating and (old == 0 or wire.version - old < 2**31) else old,
        )
        stores = updating and version == wire.version
        valid = self.valid.update_fetch(
            entry, lambda old: 0 if putting or (stores and removing) else (1 if stores else old)
        )
        hit = getting and valid == 1
        tells = hit or updating
        for lane in range(self.lanes):
            value = self.value[lane].update_fetch(entry, lambda old: wire.value[lane] if stores else old)
            wire.value[lane] = value if tells else wire.value[lane]
        wire.hits = self.hits.update_fetch(entry, lambda old: sat_add(old, 1) if hit else old)
        if tells:
            wire.version = version
            wire.status = self.HIT if getting else (self.STORED if stores else self.OLDER)
            packet.reply()
        else:
            wire.status = self.INVALID
