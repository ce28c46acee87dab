"""A real Redis or Valkey Cluster on loopback, in one call: primaries, replicas, and what may happen to them.

Each node is a `Server`, so it ends with the process that started it. Slots are moved as the tools of the servers move
them: keys one after another, while clients are told to ask elsewhere. The hard thing is to know when it is ready: every
node must have heard of every other one, and each replica must follow its primary; only then is the cluster given away.
"""

from __future__ import annotations

import contextlib
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from redisflow.backend.caller import Caller
from redisflow.backend.connect import read_url
from redisflow.backend.slots import slot_of
from redisflow.errors import BackendError
from redisflow.names import partition_prefix
from redisflow.testing.server import EmbeddedServerError, Server, ServerOptions, start_server
from redisflow.testing.server_process import pick_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SLOTS = 16_384
_READY_WITHIN_S = 60.0
_POLL_S = 0.02
_PORT_WITHIN_S = 30.0
_BUS_ATTEMPTS = 10  # somebody may take the port of the cluster's bus between our look at it and the server's bind
_KEYS_AT_ONCE = 100


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """How an embedded cluster is made.

    `primaries`        nodes that own slots, evenly; at least 3 where a lost one is to be replaced (a majority votes)
    `replicas`         nodes that follow a primary each, in turn
    `provider`         as for `ServerOptions`
    `node_timeout_ms`  after which a silent node counts as lost: small, so that a failover takes 2 to 3 s
    `appendonly`       keep append-only files, as for `ServerOptions`
    `config`           further settings of every node
    """

    primaries: int = 3
    replicas: int = 3
    provider: str = "auto"
    node_timeout_ms: int = 1_000
    appendonly: bool = True
    config: Mapping[str, str] = field(default_factory=dict[str, str])


def start_cluster(options: ClusterOptions | None = None) -> ServerCluster:
    """Start a cluster, and return it once every node agrees that it is ready.

    It stops with `ServerCluster.stop`, at the end of a `with`, at interpreter exit, and when this process is killed.
    Raises `EmbeddedServerError` when there is no server to run, or when the nodes do not find each other within 60 s.
    """
    return ServerCluster(options or ClusterOptions())


class ServerCluster:
    """A running cluster, as `start_cluster` returns it. Its methods block; one thread may use it at a time."""

    def __init__(self, options: ClusterOptions) -> None:
        """Start all nodes, and make them one cluster."""
        self._options = options
        self._callers: dict[int, Caller] = {}
        self._ids: dict[int, str] = {}
        self._stack = ExitStack()
        self.nodes: list[Server] = []
        """Those that began as primaries first, in the order of their slots."""
        try:
            for _ in range(options.primaries + options.replicas):
                self.nodes.append(self._stack.enter_context(self._start_node()))
            self._introduce()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """The URL for `RedisFlow`: every node is in it, so that it leads there whichever is down."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    @property
    def version(self) -> str:
        """Product and version of its nodes."""
        return self.nodes[0].version

    def stop(self) -> None:
        """Stop every node, and remove the data. May be repeated."""
        for caller in self._callers.values():
            caller.close()
        self._callers.clear()
        self._stack.close()

    def __enter__(self) -> Self:
        """Return the running cluster."""
        return self

    def __exit__(self, *error: object) -> None:
        """Stop it."""
        self.stop()

    # -- looking ------------------------------------------------------------------------------------------------------

    def call(self, node: Server, *command: Any) -> Any:
        """A command to one node; BackendUnavailable where it is down, BackendError where it refuses."""
        if node.port not in self._callers:
            self._callers[node.port] = Caller(read_url(node.url), {})
        return self._callers[node.port].call(("127.0.0.1", node.port), command)

    def primaries(self) -> list[Server]:
        """Who owns slots at present, as a node that answers sees it."""
        ports = {port for _, _, port, _ in self._map()}
        return [node for node in self.nodes if node.port in ports]

    def owner_of(self, key: str) -> Server:
        """The primary that has a key, or would have it; `rf:{namespace:3}:` for a partition."""
        slot = slot_of(key)
        port = next((port for first, last, port, _ in self._map() if first <= slot <= last), None)
        if port is None:
            message = f"No node of the cluster owns slot {slot}."
            raise EmbeddedServerError(message)
        return self._at(port)

    def owner_of_partition(self, namespace: str, partition: int) -> Server:
        """The primary that has a partition of a namespace."""
        return self.owner_of(partition_prefix(namespace, partition))

    def replicas_of(self, primary: Server) -> list[Server]:
        """Who follows a primary at present."""
        ports = {found for _, _, port, followers in self._map() if port == primary.port for found in followers}
        return [node for node in self.nodes if node.port in ports]

    def wait_until_ready(self) -> None:
        """Return when every node agrees on who owns what. `EmbeddedServerError` after 60 s."""
        self._wait("agree", self._agrees)

    # -- what may happen to it ----------------------------------------------------------------------------------------

    def kill(self, node: Server) -> None:
        """SIGKILL a node; where it was a primary, one of its replicas takes over."""
        node.kill()
        self._forget_caller(node)

    def restart(self, node: Server) -> None:
        """Start a node again on its data; it finds the others by itself, and follows whoever has its slots now."""
        self._forget_caller(node)
        deadline_s = time.monotonic() + _PORT_WITHIN_S
        while True:
            try:
                return node.restart()
            except EmbeddedServerError as error:
                # The others know its ports, so it waits for whoever has taken one of them meanwhile.
                if "Address already in use" not in str(error) or time.monotonic() > deadline_s:
                    raise
                time.sleep(1)

    def fail_over(self, primary: Server) -> Server:
        """Hand a primary's slots to a replica (`CLUSTER FAILOVER`): no write is lost. Returns the heir."""
        followers = self.replicas_of(primary)
        if not followers:
            message = f"The node on port {primary.port} has no replica."
            raise EmbeddedServerError(message)
        heir = followers[0]
        asked_at_s = 0.0

        def is_primary() -> bool:
            nonlocal asked_at_s
            if self.call(heir, "ROLE")[0] == b"master":
                return True
            # An attempt that found no majority in time is given up by the server without a word.
            if time.monotonic() > asked_at_s + 5:
                asked_at_s = time.monotonic()
                with contextlib.suppress(BackendError):
                    self.call(heir, "CLUSTER", "FAILOVER")
            return False

        self._wait("fail over", is_primary)
        return heir

    def wait_for_failover(self, lost: Server) -> None:
        """Return when the slots of a primary that was killed have another owner."""

        def is_replaced_at(node: Server) -> bool:
            try:
                is_ok = b"cluster_state:ok" in self.call(node, "CLUSTER", "INFO")
                return is_ok and all(port != lost.port for _, _, port, _ in self._map_of(node))
            except BackendError:
                return True  # it is away itself

        self._wait("replace a lost primary", lambda: all(map(is_replaced_at, self.nodes)))

    def migrate_slot(self, slot: int, to: Server, *, keys_at_once: int = _KEYS_AT_ONCE) -> int:
        """Move a slot with all its keys, as the servers' own tools do; returns how many keys it had.

        Until it is done, clients that need a key which is not there are told to ask the other node (ASK). No node may
        fail over meanwhile: an heir does not know of the move (Redis; Valkey before 8), so that keys which have been
        moved are out of sight, and whoever was to get the slot believes that it has no owner, and refuses all calls.
        """
        source = self._owner_of_slot(slot)
        if source is to:
            return 0
        source_id, target_id = self._id_of(source), self._id_of(to)
        # Two who changed owners a moment ago may hold the same epoch: then an older word of the source would count.
        self._wait("hear of each other", lambda: self._know_epochs(source, to))
        self.call(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        self.call(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        count = 0
        while keys := self.call(source, "CLUSTER", "GETKEYSINSLOT", slot, keys_at_once):
            self._wait("move keys", lambda: self._move_keys(source, to, keys))
            count += len(keys)
        # The new owner first: were it the old one, there would be a moment when neither has the slot.
        self.call(to, "CLUSTER", "SETSLOT", slot, "NODE", target_id)
        for node in [source, *self.nodes]:
            if node is not to:
                # Replicas and nodes that are down hear of it by gossip.
                with contextlib.suppress(BackendError):
                    self.call(node, "CLUSTER", "SETSLOT", slot, "NODE", target_id)
        self._wait("agree on a slot", lambda: all(self._owner_at(node, slot) == to.port for node in (source, to)))
        return count

    def _move_keys(self, source: Server, to: Server, keys: Sequence[bytes]) -> bool:
        """Whoever has just changed roles takes nothing for a while."""
        answer = self.call(source, "MIGRATE", "127.0.0.1", to.port, "", 0, 5_000, "REPLACE", "KEYS", *keys)
        return answer in (b"OK", b"NOKEY")

    def hand_over_slot(self, slot: int, to: Server) -> None:
        """Let the servers move a slot by themselves, all at once for clients: Valkey 9 and later."""
        source = self._owner_of_slot(slot)
        if source is to:
            return
        self._wait("hear of each other", lambda: self._know_epochs(source, to))
        self.call(source, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", self._id_of(to))

        def has_ended() -> bool:
            words = self.call(source, "CLUSTER", "GETSLOTMIGRATIONS")[0]
            state = dict(zip(words[::2], words[1::2], strict=True))[b"state"]
            if state in (b"failed", b"canceled"):
                message = f"Slot {slot} was not moved: {state.decode()}."
                raise EmbeddedServerError(message)
            return bool(state == b"success")

        self._wait("move a slot", has_ended)
        self._wait("agree on a slot", lambda: all(self._owner_at(node, slot) == to.port for node in (source, to)))

    def hand_over_partition(self, namespace: str, partition: int, to: Server) -> None:
        """Let the servers move the slot of a partition; see `hand_over_slot`."""
        self.hand_over_slot(slot_of(partition_prefix(namespace, partition)), to)

    def migrate_partition(
        self, namespace: str, partition: int, to: Server, *, keys_at_once: int = _KEYS_AT_ONCE
    ) -> int:
        """Move the slot of a partition; see `migrate_slot`."""
        slot = slot_of(partition_prefix(namespace, partition))
        return self.migrate_slot(slot, to, keys_at_once=keys_at_once)

    # -- making it ----------------------------------------------------------------------------------------------------

    def _start_node(self) -> Server:
        options = self._options
        for attempts_left in reversed(range(_BUS_ATTEMPTS)):
            config = {
                "cluster-enabled": "yes",
                "cluster-node-timeout": str(options.node_timeout_ms),
                # By default 10,000 above the port: among those of outgoing connections.
                "cluster-port": str(pick_port()),
                "cluster-announce-ip": "127.0.0.1",
                # A replica that was just made is to follow within milliseconds, not after 5 s.
                "repl-diskless-sync-delay": "0",
                **options.config,
            }
            settings = ServerOptions(provider=options.provider, appendonly=options.appendonly, config=config)
            try:
                return start_server(settings)
            except EmbeddedServerError:
                if not attempts_left:
                    raise
        raise AssertionError

    def _introduce(self) -> None:
        primaries = self.nodes[: self._options.primaries]
        for number, node in enumerate(primaries):
            first, last = SLOTS * number // len(primaries), SLOTS * (number + 1) // len(primaries) - 1
            self.call(node, "CLUSTER", "ADDSLOTSRANGE", first, last)
            self.call(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        first_node = self.nodes[0]
        bus = int(self.call(first_node, "CONFIG", "GET", "cluster-port")[1])
        for node in self.nodes[1:]:
            self.call(node, "CLUSTER", "MEET", "127.0.0.1", first_node.port, bus)
        self._wait("meet", lambda: all(self._knows_all(node) for node in self.nodes))
        for number, node in enumerate(self.nodes[len(primaries) :]):
            self.call(node, "CLUSTER", "REPLICATE", self._id_of(primaries[number % len(primaries)]))
        self.wait_until_ready()

    def _knows_all(self, node: Server) -> bool:
        lines = self.call(node, "CLUSTER", "NODES").decode().splitlines()
        return len(lines) == len(self.nodes) and not any("handshake" in line for line in lines)

    def _agrees(self) -> bool:
        maps: list[list[tuple[int, int, int, frozenset[int]]]] = []
        for node in self.nodes:
            if not self._knows_all(node) or b"cluster_state:ok" not in self.call(node, "CLUSTER", "INFO"):
                return False
            role = self.call(node, "ROLE")
            if role[0] == b"slave" and role[3] != b"connected":
                return False
            maps.append(self._map_of(node))
        followers = {port for _, _, _, found in maps[0] for port in found}
        owners = {port for _, _, port, _ in maps[0]}
        return all(found == maps[0] for found in maps) and followers | owners == {node.port for node in self.nodes}

    def _know_epochs(self, one: Server, other: Server) -> bool:
        mine, theirs = self._epochs_at(one), self._epochs_at(other)
        ids = (self._id_of(one), self._id_of(other))
        return mine[ids[0]] != mine[ids[1]] and all(mine[name] == theirs[name] for name in ids)

    def _epochs_at(self, node: Server) -> dict[str, str]:
        """The configuration epoch of each node, as this one knows it."""
        lines = [line.split() for line in self.call(node, "CLUSTER", "NODES").decode().splitlines()]
        return {words[0]: words[6] for words in lines}

    def _owner_at(self, node: Server, slot: int) -> int | None:
        found = (port for first, last, port, _ in self._map_of(node) if first <= slot <= last)
        return next(found, None)

    def _wait(self, what: str, is_so: Callable[[], bool]) -> None:
        deadline_s, refusal = time.monotonic() + _READY_WITHIN_S, ""
        while True:
            # A node that is just starting, or in the middle of a change, refuses.
            try:
                if is_so():
                    return
            except BackendError as error:
                refusal = f" Last refused: {error}."
            if time.monotonic() > deadline_s:
                message = f"The nodes of the cluster did not {what} within {_READY_WITHIN_S:.0f} s.{refusal}"
                message += f" {self._describe()}"
                raise EmbeddedServerError(message)
            time.sleep(_POLL_S)

    def _describe(self) -> str:
        """What each node says of the cluster, for whoever has to find out what it waits for."""
        said: list[str] = []
        for node in self.nodes:
            try:
                info = self.call(node, "CLUSTER", "INFO").decode().split()
                role = self.call(node, "ROLE")[0].decode()
            except BackendError as error:
                said.append(f"{node.port}: {error}")
            else:
                wanted = ("cluster_state:", "cluster_slots_ok:", "cluster_current_epoch:")
                said.append(f"{node.port}: {role} {' '.join(word for word in info if word.startswith(wanted))}")
        return "; ".join(said)

    def _map(self) -> list[tuple[int, int, int, frozenset[int]]]:
        for node in self.nodes:
            with contextlib.suppress(BackendError):
                return self._map_of(node)
        message = "No node of the cluster answers."
        raise EmbeddedServerError(message)

    def _map_of(self, node: Server) -> list[tuple[int, int, int, frozenset[int]]]:
        """First slot, last slot, port of the owner, ports of its replicas."""
        return sorted(
            (first, last, primary[1], frozenset(follower[1] for follower in followers))
            for first, last, primary, *followers in self.call(node, "CLUSTER", "SLOTS")
        )

    def _owner_of_slot(self, slot: int) -> Server:
        """Who says so of itself: others may not have heard yet of the last move."""
        for node in self.nodes:
            with contextlib.suppress(BackendError):
                if self._owner_at(node, slot) == node.port:
                    return node
        return self._at(next(port for first, last, port, _ in self._map() if first <= slot <= last))

    def _at(self, port: int) -> Server:
        return next(node for node in self.nodes if node.port == port)

    def _id_of(self, node: Server) -> str:
        if node.port not in self._ids:
            self._ids[node.port] = self.call(node, "CLUSTER", "MYID").decode()
        return self._ids[node.port]

    def _forget_caller(self, node: Server) -> None:
        caller = self._callers.pop(node.port, None)
        if caller is not None:
            caller.close()
