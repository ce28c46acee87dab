"""A cluster: each partition on the node that owns its slot, found again whenever that changes.

A node says MOVED to what it no longer owns, and says nothing at all when it is dead. Both lead to the same thing: the
map of slots is read anew, and what is unanswered goes to where its slot is now. A slot under migration (ASK) is waited
for.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from redis.crc import key_slot

from redisflow.backend.caller import Caller
from redisflow.backend.link import STALL_S, Call, Parse
from redisflow.backend.outage import Backoff, OutageLog
from redisflow.backend.single import ServerEndpoint, SingleServer
from redisflow.backend.wire import Command, Refusal, open_wire, pack
from redisflow.errors import BackendError, BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redisflow.backend.channels import Listener
    from redisflow.backend.connect import Address, Target
    from redisflow.backend.scripts import Scripts

# How long a call waits before it asks again for a slot that is being moved.
_MIGRATION_S = 0.1


class Cluster:
    """A transport to a cluster: a single server's connections for each node that owns a partition."""

    def __init__(self, target: Target, *, stall_s: float = STALL_S) -> None:
        """Make it inside the event loop that it serves."""
        self._target = target
        self._stall_s = stall_s
        self._loop = asyncio.get_running_loop()
        self._outage = OutageLog(target.masked)
        self._texts: dict[str, str] = {}
        self._owners: list[tuple[int, int, Address]] = []
        """First slot, last slot, and who owns them."""
        self._nodes: dict[Address, SingleServer] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._subscriptions: dict[tuple[str, str, Listener], tuple[SingleServer, asyncio.Future[None]]] = {}
        self._closed = False

    @property
    def masked_url(self) -> str:
        """As it may be shown."""
        return self._target.masked

    @property
    def trouble(self) -> str:
        """Why the cluster, or one of its nodes, is away; empty while all answer."""
        return self._outage.reason

    async def load(self, scripts: Scripts) -> None:
        """Find the nodes, and make each of them know the scripts."""
        self._texts.update((script.sha, script.text) for script in scripts)
        await self._refresh()
        await asyncio.gather(*(self._node(owner).load(scripts) for _, _, owner in self._owners))

    def address_of(self, prefix: str) -> Address:
        """Which node owns a partition; safe in every thread."""
        slot = key_slot(prefix.encode())
        for first, last, owner in self._owners:
            if first <= slot <= last:
                return owner
        msg = f"no node of {self.masked_url} owns slot {slot} at present"
        raise BackendUnavailable(msg)

    def send(
        self, prefix: str, command: Command, parse: Parse | None = None, *, bulk: bool = False
    ) -> asyncio.Future[Any]:
        """Send a command to the partition's node; while nobody owns its slot, it waits."""
        try:
            address = self.address_of(prefix)
        except BackendUnavailable:
            future = self._loop.create_future()
            self._refresh_soon()
            self._loop.call_later(_MIGRATION_S, self._dispatch, [(future, parse, pack(command), command)])
            return future
        return self._node(address).send(prefix, command, parse, bulk=bulk)

    async def pop(self, prefix: str, keys: Sequence[str], timeout_s: float) -> bool:
        """Wait for a token in one of the keys, and take it."""
        try:
            address = self.address_of(prefix)
        except BackendUnavailable:
            self._refresh_soon()
            await asyncio.sleep(timeout_s)
            return False
        return await self._node(address).pop(prefix, keys, timeout_s)

    def subscribe(self, prefix: str, channel: str, listener: Listener) -> asyncio.Future[None]:
        """Listen to a channel."""
        node = self._node(self.address_of(prefix))
        confirmed: asyncio.Future[None] = self._loop.create_future()
        self._subscriptions[prefix, channel, listener] = node, confirmed
        node.subscribe(prefix, channel, listener).add_done_callback(lambda _: _resolve(confirmed))
        return confirmed

    def unsubscribe(self, prefix: str, channel: str, listener: Listener) -> None:
        """Stop listening."""
        found = self._subscriptions.pop((prefix, channel, listener), None)
        if found is not None:
            found[0].unsubscribe(prefix, channel, listener)

    def open_calls(self) -> ClusterCalls:
        """Connections for a thread."""
        return ClusterCalls(self, self._target, self._texts)

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])
        for node in self._nodes.values():
            await node.close()

    # -- the map of slots -----------------------------------------------------------------------------------------

    def _node(self, address: Address) -> SingleServer:
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = SingleServer(
                self._target,
                stall_s=self._stall_s,
                endpoint=ServerEndpoint(self._target, address),
                outage=self._outage,
                texts=self._texts,
                on_redirect=self._redirect,
                on_outage=self._refresh_soon,
            )
        return node

    def _redirect(self, call: Call, words: str) -> None:
        kind, _, where = words.split(" ")[:3]
        self._refresh_soon()
        if call[3][0] == "BLPOP":
            # A blocked pop would hold up a node's small calls; its waiter looks for the right node when it waits again.
            self._loop.call_later(_MIGRATION_S, _resolve, call[0])
        elif kind == "ASK":
            self._loop.call_later(_MIGRATION_S, self._dispatch, [call])
        else:
            host, _, port = where.rpartition(":")
            # An empty host means the node that answered; its address is known from the map alone.
            self._loop.call_soon(self._adopt, (host, int(port)) if host else None, call)

    def _adopt(self, address: Address | None, call: Call) -> None:
        if address is None or self._closed:
            self._loop.call_later(_MIGRATION_S, self._dispatch, [call])
        else:
            self._node(address).adopt([call])

    def _dispatch(self, calls: Iterable[Call]) -> None:
        for call in calls:
            command = call[3]
            key = _key_of(command)
            if call[0].done():
                continue
            if self._closed:
                call[0].set_exception(BackendUnavailable(f"{self.masked_url} was closed"))
                continue
            try:
                self._node(self.address_of(key)).adopt([call])
            except BackendUnavailable:
                self._refresh_soon()
                self._loop.call_later(_MIGRATION_S, self._dispatch, [call])

    def _refresh_soon(self) -> None:
        if self._refreshing is None and not self._closed:
            self._refreshing = self._loop.create_task(self._refresh_or_say_why(), name="redisflow cluster map")

    async def _refresh_or_say_why(self) -> None:
        try:
            await self._refresh()
        except BackendError as error:  # the next call that goes wrong asks again
            self._outage.begin(self, str(error))
        finally:
            self._refreshing = None

    async def _refresh(self) -> None:
        """Ask one node after the other for the map, until one knows it."""
        backoff = Backoff()
        while True:
            known = [owner for _, _, owner in self._owners]
            for address in dict.fromkeys((*known, *self._target.hosts)):
                try:
                    self._owners = await self._read_map(address)
                except OSError as error:
                    self._outage.begin(self, str(error) or type(error).__name__)
                else:
                    self._outage.end(self)
                    await self._settle()
                    return
            await asyncio.sleep(backoff.next_s())

    async def _read_map(self, address: Address) -> list[tuple[int, int, Address]]:
        wire = await open_wire(ServerEndpoint(self._target, address))
        try:
            (reply,) = await wire.ask([("CLUSTER", "SLOTS")])
        finally:
            await wire.close()
        if isinstance(reply, Refusal):
            if reply.code == "ERR":
                msg = f"{self.masked_url} is no cluster: {reply.words}"
                raise BackendError(msg)
            raise ConnectionError(reply.words)
        owners = [(first, last, _address(primary, address)) for first, last, primary, *_ in reply]
        if not owners:
            msg = "no node of the cluster owns a slot"
            raise ConnectionError(msg)
        return owners

    async def _settle(self) -> None:
        """Take what belongs elsewhere now to where it belongs."""
        owners = {owner for _, _, owner in self._owners}
        for key, (node, confirmed) in list(self._subscriptions.items()):
            prefix, channel, listener = key
            now = self._node(self.address_of(prefix))
            if now is not node and key in self._subscriptions:
                node.unsubscribe(prefix, channel, listener)
                self._subscriptions[key] = now, confirmed
                moved = now.subscribe(prefix, channel, listener)
                moved.add_done_callback(partial(_tell, confirmed, listener))
        for address in [address for address in self._nodes if address not in owners]:
            node = self._nodes.pop(address)
            self._dispatch(node.give_up())
            await node.close()


class ClusterCalls:
    """Calls from a thread, to the node that the event loop's map names."""

    def __init__(self, cluster: Cluster, target: Target, texts: dict[str, str]) -> None:
        """Made by `Cluster.open_calls`."""
        self._cluster = cluster
        self._target = target
        self._texts = texts
        self._callers: dict[Address, Caller] = {}

    def call(self, prefix: str, command: Command) -> Any:
        """Its reply."""
        address = self._cluster.address_of(prefix)
        if address not in self._callers:
            self._callers[address] = Caller(self._target, self._texts)
        return self._callers[address].call(address, command)

    def close(self) -> None:
        """Close the connections."""
        for caller in self._callers.values():
            caller.close()


def _address(node: Sequence[Any], asked: Address) -> Address:
    """Of a node in CLUSTER SLOTS; one that does not know its own address is the one that was asked."""
    host, port = node[0], node[1]
    return (host.decode() if host else asked[0]), int(port)


def _key_of(command: Command) -> str:
    """What tells the node; any will do for what names no key (INFO)."""
    if command[0] in ("EVALSHA", "EVAL"):
        return str(command[3])
    return str(command[1]) if len(command) > 1 else ""


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _tell(confirmed: asyncio.Future[None], listener: Listener, _: object) -> None:
    _resolve(confirmed)
    listener(None)
