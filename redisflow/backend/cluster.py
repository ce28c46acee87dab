"""A cluster: each partition on the node that owns its slot, found again whenever that changes.

A node says MOVED to what it no longer owns, and says nothing at all when it is dead. Both lead to the same thing: the
map of slots is read anew, and what is unanswered goes to where its slot is now. A slot under migration (ASK) is waited
for: `slot_lines` says why.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from redisflow.backend.acknowledgements import Written
from redisflow.backend.batch import Call, Parse
from redisflow.backend.cluster_calls import ClusterCalls
from redisflow.backend.link import STALL_S
from redisflow.backend.outage import Backoff, OutageLog
from redisflow.backend.single import ServerEndpoint, SingleServer
from redisflow.backend.slot_lines import SlotLines
from redisflow.backend.slots import Owners, SlotMap, partition_in, read_owners, read_redirect
from redisflow.backend.wire import Command, Refusal, open_wire, pack
from redisflow.errors import BackendError, BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redisflow.backend.acknowledgements import Acknowledgements
    from redisflow.backend.channels import Listener
    from redisflow.backend.connect import Address, Target
    from redisflow.backend.scripts import Scripts

# A second MOVED of one partition within this time: the nodes do not agree yet, and the call waits.
_AGREE_S = 0.1
# How long before a blocked pop that was sent to the wrong node is answered: its waiter then looks for the right one.
_POP_S = 0.1
# A node that owes replies for so long may have been replaced without closing its connections: the others are asked.
_QUIET_S = 1.5
_LOOK_S = 1.0
# Readings of the map that change nothing follow each other with growing pauses; after so long without one, not.
_CALM_S = 5.0


class Cluster:
    """A transport to a cluster: a single server's connections for each node that owns a partition."""

    def __init__(
        self,
        target: Target,
        *,
        stall_s: float = STALL_S,
        acks: Acknowledgements | None = None,
    ) -> None:
        """Make it inside the event loop that it serves."""
        self._target = target
        self._acks = acks
        self._stall_s = stall_s
        self._loop = asyncio.get_running_loop()
        self._outage = OutageLog(target.masked)
        self._texts: dict[str, str] = {}
        self.slots = SlotMap()
        self._lines = SlotLines(self._outage, self._dispatch)
        self._corrected: dict[str, float] = {}
        """By partition, when a node last said MOVED."""
        self._nodes: dict[Address, SingleServer] = {}
        self._leaving: list[SingleServer] = []
        """Those that own nothing any more, and are being closed."""
        self._pops: dict[asyncio.Future[bool], tuple[str, Address]] = {}
        """Blocked pops, and which partition is waited for at which node."""
        self._refreshing: asyncio.Task[None] | None = None
        self._pause = Backoff()
        self._refreshed_at_s = -_CALM_S
        self._informed: Address | None = None
        """Who said MOVED last, or rather where it led: that node knows the new map."""
        self._subscriptions: dict[tuple[str, str, Listener], tuple[SingleServer | None, asyncio.Future[None]]] = {}
        self._looking: asyncio.TimerHandle | None = None
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
        """Find the nodes, and see that they can run scripts. One that is away learns them when it is called."""
        self._texts.update((script.sha, script.text) for script in scripts)
        await self._refresh()
        self._look()
        calls = [asyncio.ensure_future(self._node(owner).load(scripts)) for owner in self.slots.addresses]
        try:
            done, missing = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            if missing:
                late, _ = await asyncio.wait(missing, timeout=_QUIET_S)
                done |= late
        finally:
            for call in calls:
                call.cancel()
        for call in done:
            call.result()

    def send(
        self, prefix: str, command: Command, parse: Parse | None = None, *, bulk: bool = False
    ) -> asyncio.Future[Any]:
        """Send a command to the partition's node; while nobody serves its slot, it waits."""
        address = self.slots.find(prefix)
        if address is None or (self._lines and prefix in self._lines):
            future = Written(loop=self._loop)
            self._wait_for_owner(prefix, (future, parse, pack(command), command))
            return future
        return self._node(address).send(prefix, command, parse, bulk=bulk)

    async def pop(self, prefix: str, keys: Sequence[str], timeout_s: float) -> bool:
        """Wait for a token in one of the keys, and take it."""
        address = self.slots.find(prefix)
        if address is None:
            self._refresh_soon()
            await asyncio.sleep(timeout_s)
            return False
        pop = asyncio.ensure_future(self._node(address).pop(prefix, keys, timeout_s))
        self._pops[pop] = prefix, address
        try:
            await asyncio.wait({pop})
        finally:
            del self._pops[pop]
            pop.cancel()
        # Canceled because the partition is elsewhere now: whoever waits looks there before it waits again.
        return False if pop.cancelled() else pop.result()

    def subscribe(self, prefix: str, channel: str, listener: Listener) -> asyncio.Future[None]:
        """Listen to a channel."""
        confirmed: asyncio.Future[None] = self._loop.create_future()
        address = self.slots.find(prefix)
        if address is None:
            self._subscriptions[prefix, channel, listener] = None, confirmed
            self._refresh_soon()
            return confirmed
        node = self._node(address)
        self._subscriptions[prefix, channel, listener] = node, confirmed
        node.subscribe(prefix, channel, listener).add_done_callback(lambda _: _resolve(confirmed))
        return confirmed

    def unsubscribe(self, prefix: str, channel: str, listener: Listener) -> None:
        """Stop listening."""
        node, _ = self._subscriptions.pop((prefix, channel, listener), (None, None))
        if node is not None:
            node.unsubscribe(prefix, channel, listener)

    def open_calls(self) -> ClusterCalls:
        """Connections for a thread."""
        return ClusterCalls(self, self._target, self._texts)

    def doubt(self) -> None:
        """The map may be wrong; called from a thread."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._refresh_soon)

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        if self._looking is not None:
            self._looking.cancel()
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])
        self._dispatch("", self._lines.give_up())
        for node in [*self._nodes.values(), *self._leaving]:
            await node.close()

    # -- calls that went to the wrong node ----------------------------------------------------------------------------

    def _node(self, address: Address) -> SingleServer:
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = SingleServer(
                self._target,
                stall_s=self._stall_s,
                endpoint=ServerEndpoint(self._target, address),
                outage=self._outage,
                texts=self._texts,
                on_redirect=partial(self._redirect, address),
                on_outage=self._refresh_soon,
                acks=self._acks,
            )
        return node

    def _redirect(self, asked: Address, call: Call, words: str) -> None:
        prefix = partition_in(call[3]) or ""
        is_moved = words.startswith("MOVED ")
        agreed = True
        if is_moved:
            self._refresh_soon()
            agreed = self._correct(prefix, read_redirect(words, asked))
        if call[3][0] == "BLPOP":
            # A blocked pop would hold up a node's small calls; its waiter looks for the right node when it waits again.
            self._loop.call_later(_POP_S, _resolve, call[0])
        elif is_moved and agreed:
            # Behind the other replies of this turn, and in their order.
            self._loop.call_soon(self._dispatch, prefix, [call])
        else:
            slot = words.split(" ")[1]
            why = "the nodes do not agree on who owns" if is_moved else "a migration is under way of"
            self._lines.wait(prefix, call, f"{why} slot {slot}")

    def _correct(self, prefix: str, address: Address) -> bool:
        """Take a node's word for who owns a partition; False where that goes round in circles."""
        if self.slots.find(prefix) == address:
            return True  # the answer to a call that left before this was known
        now_s = self._loop.time()
        if self._corrected.get(prefix, -_AGREE_S) > now_s - _AGREE_S:
            return False
        self._corrected[prefix] = now_s
        self._informed = address
        self.slots.correct(prefix, address)
        self._wake_pops()
        return True

    def _wake_pops(self) -> None:
        """Those that wait at a node which is not their partition's any more."""
        for pop, (prefix, address) in self._pops.items():
            if self.slots.find(prefix) != address:
                pop.cancel()

    def _dispatch(self, prefix: str, calls: Iterable[Call]) -> None:
        """Send calls to who owns their partition; where that is nobody, they wait."""
        if self._closed:
            _fail(calls, BackendUnavailable(f"the connection to {self.masked_url} was closed"))
            return
        address = self.slots.find(prefix) if prefix else next(iter(self.slots.addresses), None)
        if address is None:
            for call in calls:
                self._wait_for_owner(prefix, call)
        else:
            self._node(address).adopt(calls)

    def _wait_for_owner(self, prefix: str, call: Call) -> None:
        if self._closed:
            _fail([call], BackendUnavailable(f"the connection to {self.masked_url} was closed"))
            return
        if self.slots.find(prefix) is None:
            self._refresh_soon()
        self._lines.wait(prefix, call, "a partition is on no node at present")

    # -- the map of slots ---------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """A node that died without a word, or was cut off, is found out by its silence."""
        self._looking = self._loop.call_later(_LOOK_S, self._look)
        if any(node.quiet_s > _QUIET_S for node in self._nodes.values()):
            self._refresh_soon()

    def _refresh_soon(self) -> None:
        if self._refreshing is None and not self._closed:
            self._refreshing = self._loop.create_task(self._refresh_or_say_why(), name="redisflow cluster map")

    async def _refresh_or_say_why(self) -> None:
        try:
            if self._loop.time() > self._refreshed_at_s + _CALM_S:
                self._pause.reset()
            else:
                # Every reading is a connection, and a fleet has many connections that fail and ask for one.
                await asyncio.sleep(self._pause.next_s())
            await self._refresh()
        except BackendError as error:  # the next call that goes wrong asks again
            self._outage.begin(self, str(error))
        finally:
            self._refreshing = None

    async def _refresh(self) -> None:
        """Ask one node after the other for the map, until one knows it. BackendError where all refuse to talk to us."""
        backoff = Backoff()
        while True:
            troubles: list[Exception] = []
            for address in self._whom_to_ask():
                try:
                    owners = await self._read_map(address)
                except (OSError, BackendError) as error:
                    self._outage.begin(self, str(error) or type(error).__name__)
                    troubles.append(error)
                else:
                    self._outage.end(self)
                    self._refreshed_at_s = self._loop.time()
                    if self.slots.replace(owners):
                        self._pause.reset()
                    await self._settle()
                    return
            # One that does not talk to us may stand where a node was; none that does is nothing that passes.
            if all(isinstance(trouble, BackendError) for trouble in troubles):
                raise troubles[0]
            await asyncio.sleep(backoff.next_s())

    def _whom_to_ask(self) -> list[Address]:
        """Who knows best first, and last those that owe us answers."""
        informed, self._informed = self._informed, None
        known = ([] if informed is None else [informed]) + self.slots.addresses + list(self._target.hosts)
        quiet = {address for address, node in self._nodes.items() if node.quiet_s > _LOOK_S}
        return sorted(dict.fromkeys(known), key=quiet.__contains__)

    async def _read_map(self, address: Address) -> Owners:
        wire = await open_wire(ServerEndpoint(self._target, address))
        try:
            async with asyncio.timeout(_QUIET_S):
                (reply,) = await wire.ask([("CLUSTER", "SLOTS")])
        finally:
            await wire.close()
        if isinstance(reply, Refusal):
            if reply.code == "ERR":
                msg = f"{self.masked_url} is no cluster: {reply.words}"
                raise BackendError(msg)
            raise ConnectionError(reply.words)
        owners = read_owners(reply, address)
        if not owners:
            msg = "no node of the cluster owns a slot"
            raise ConnectionError(msg)
        return owners

    async def _settle(self) -> None:
        """Take what belongs elsewhere now to where it belongs."""
        self._wake_pops()
        for key, (node, confirmed) in list(self._subscriptions.items()):
            prefix, channel, listener = key
            address = self.slots.find(prefix)
            if address is None or key not in self._subscriptions:
                continue
            now = self._node(address)
            if now is not node:
                if node is not None:
                    node.unsubscribe(prefix, channel, listener)
                self._subscriptions[key] = now, confirmed
                moved = now.subscribe(prefix, channel, listener)
                moved.add_done_callback(partial(_tell, confirmed, listener))
        for address in [address for address in self._nodes if not self.slots.owns_any(address)]:
            node = self._nodes.pop(address)
            self._leaving.append(node)
            for call in node.give_up():
                prefix = partition_in(call[3]) or ""
                if prefix in self._lines:
                    self._wait_for_owner(prefix, call)
                else:
                    self._dispatch(prefix, [call])
            await node.close()
            self._leaving.remove(node)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _fail(calls: Iterable[Call], error: BackendError) -> None:
    for future, *_ in calls:
        if not future.done():
            future.set_exception(error)
            future.exception()  # nobody may be waiting any more; then it is not worth a line in the log


def _tell(confirmed: asyncio.Future[None], listener: Listener, _: object) -> None:
    _resolve(confirmed)
    listener(None)
