"""Deleting finished runs, and the policies that say when."""

from __future__ import annotations

import logging
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

from redisflow.backend import replies
from redisflow.contract import Purged
from redisflow.retention import decode_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from redisflow.backend.patience import Patience
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import Transport

_log = logging.getLogger("redisflow.worker")

STEP = 100
"""Runs that one call deletes."""
STEP_BYTES = 8 * 1024 * 1024
"""And of their inputs and records together; the server frees them beside its other work (UNLINK)."""


class RetentionOnRedis:
    """See `RetentionCalls`. One object per backend."""

    def __init__(
        self,
        transport: Transport,
        scripts: Scripts,
        prefixes: Sequence[str],
        patience: Patience,
        prefix_of: Callable[[str], str],
    ) -> None:
        """All that it needs to call."""
        self._transport = transport
        self._scripts = scripts
        self._prefixes = prefixes
        self._patience = patience
        self._prefix_of = prefix_of
        self._staying: dict[int, Counter[tuple[bytes, str]]] = {}
        """By partition and listing, in a round that goes on: how many of the oldest stay, being imported since."""
        self._told: set[bytes] = set()
        """Workflows of which it was told that their policy cannot be read."""

    async def set_retention(self, policies: Mapping[str, str]) -> None:
        """See `RetentionCalls`."""
        first = self._prefixes[0]
        command = self._scripts.set_retention.call(first, chain.from_iterable(sorted(policies.items())))
        replies.expect_ok(await self._transport.send(first, command))

    async def purge_runs(self, partition: int, *, tell_ids: bool = False) -> Purged:
        """See `RetentionCalls`."""
        first, prefix = self._prefixes[0], self._prefixes[partition]
        meta = replies.named(await self._transport.send(first, ("HGETALL", f"{first}meta")))
        workflows = await self._transport.send(prefix, ("SMEMBERS", f"{prefix}workflows"))
        listings = [
            (workflow, status, keep_ms)
            for workflow in sorted(workflows)
            for status, keep_ms in self._policy_of(workflow, meta.get(b"keep:" + workflow, b"")).items()
        ]
        staying = self._staying.pop(partition, Counter())
        tail = chain.from_iterable((*listing, staying[listing[:2]]) for listing in listings)
        tell = "ids" if tell_ids else ""
        command = self._scripts.purge_runs.call(prefix, tail, limit=STEP, all_bytes=STEP_BYTES, tell=tell)
        runs, has_more, more_stay, *run_ids = replies.expect_ok(await self._transport.send(prefix, command))
        if has_more:
            for number, count in zip(more_stay[::2], more_stay[1::2], strict=True):
                staying[listings[number - 1][:2]] += count
            self._staying[partition] = staying
        return Purged(done=not has_more, runs=runs, run_ids=list(map(replies.shown, run_ids)))

    def _policy_of(self, workflow: bytes, stored: bytes) -> dict[str, int]:
        """Nothing where it cannot be read: then runs of this workflow are kept, and those of others go."""
        try:
            return decode_policy(stored.decode())
        except ValueError:
            if workflow not in self._told:
                self._told.add(workflow)
                text = "retention: the policy of %s cannot be read (field keep:%s of %smeta), and its runs are kept"
                name = replies.shown(workflow)
                _log.error(text, name, name, self._prefixes[0])
            return {}

    async def delete_run(self, run_id: str) -> str | None:
        """See `RetentionCalls`."""
        prefix = self._prefix_of(run_id)
        command = self._scripts.delete_run.call(prefix, run_id=run_id)
        reply = await self._patience.give(self._transport.send(prefix, command))
        return None if reply[0] == b"gone" else replies.status_of(reply[1])
