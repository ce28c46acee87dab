"""Which node of a cluster owns a partition, as far as is known; read by the event loop and by threads.

The map is replaced as a whole when it has been read anew. A node that says MOVED corrects it for one partition at once,
so that what is sent next goes to the right node.
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import TYPE_CHECKING, Any

from redisflow.server_info import SLOTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redisflow.backend.connect import Address
    from redisflow.backend.wire import Command

Owners = list[tuple[int, int, "Address"]]
"""First slot, last slot, and who owns them."""


class SlotMap:
    """Owners of slots. Every method is one step under the interpreter's lock, or works on what it has taken once."""

    def __init__(self) -> None:
        """Nobody is known to own anything."""
        self._owners: Owners = []
        self._routes: dict[str, Address] = {}

    @property
    def addresses(self) -> list[Address]:
        """Everybody who owns a slot, or was said to own a partition."""
        return list(dict.fromkeys([*(owner for _, _, owner in self._owners), *list(self._routes.values())]))

    def owns_any(self, address: Address) -> bool:
        """Whether this node owns a slot."""
        return address in self.addresses

    def find(self, prefix: str) -> Address | None:
        """Which node owns a partition; None where nobody does."""
        # In this order, or the owner in a map that has just been replaced could become a route of the new one.
        routes, owners = self._routes, self._owners
        address = routes.get(prefix)
        if address is None:
            slot = slot_of(prefix)
            address = next((owner for first, last, owner in owners if first <= slot <= last), None)
            if address is not None:
                routes[prefix] = address
        return address

    def correct(self, prefix: str, address: Address) -> None:
        """A node said that this one owns the partition."""
        self._routes[prefix] = address

    def replace(self, owners: Owners) -> bool:
        """The map was read anew; whether anything in it has changed."""
        changed = sorted(owners) != sorted(self._owners)
        self._owners, self._routes = owners, {}
        return changed


def slot_of(prefix: str) -> int:
    """The slot of a partition, or of a key: CRC16 of what is between its first braces, or of all where that is nothing.

    As the specification of Redis clusters has it; asking the client library would import all of it, for 150 ms.
    """
    key = prefix.encode()
    start = key.find(b"{") + 1
    end = key.find(b"}", start) if start else -1
    return crc_hqx(key[start:end] if end > start else key, 0) % SLOTS


def partition_in(command: Command) -> str | None:
    """The prefix of the partition that a command is about; None where it names no key."""
    for word in command[1:]:
        text = word.decode(errors="replace") if isinstance(word, bytes) else word
        if isinstance(text, str) and text.startswith("rf:{"):
            return text[: text.find("}") + 2]
    return None


def read_owners(reply: Iterable[Sequence[Any]], asked: Address) -> Owners:
    """What CLUSTER SLOTS answers; a node that does not know its own address is the one that was asked."""
    owners: Owners = []
    for first, last, (host, port, *_), *_ in reply:
        owners.append((first, last, (host.decode() if host else asked[0], int(port))))
    return owners


def read_redirect(words: str, asked: Address) -> Address:
    """Where MOVED or ASK leads: an empty host means that of the node which answered."""
    host, _, port = words.split(" ")[2].rpartition(":")
    return host or asked[0], int(port)
