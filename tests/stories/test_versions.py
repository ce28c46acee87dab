"""Versions: a run keeps the code that it was started with, and waits for it where no worker has it."""

from __future__ import annotations

import pytest

from examples import versions
from redisflow import RedisFlow, Step
from tests.stories.world import adopt, until

pytestmark = pytest.mark.usefixtures("no_key_left")


async def test_v1_and_v2_run_side_by_side(flow):
    checkout, bill_v1, bill = adopt(flow, versions.checkout), adopt(flow, versions.bill_v1), adopt(flow, versions.bill)
    async with flow.new_worker(lease="30s"):
        old = await checkout.run(250_000, version="v1")
        new = await checkout.run(250_000, version="v2")
        assert await old.result(timeout="1m") == "charged 250000"
        assert await new.result(timeout="1m") == "refused"
        assert await (await bill_v1.run(100)).result(timeout="1m") == "v1 charged 100"
        assert await (await bill.run(100, version="v3")).result(timeout="1m") == "v3 charged 101"


async def test_a_run_takes_the_declared_version_unless_it_is_given_another(flow):
    async def which(step: Step) -> str | None:
        return step.version

    declared = flow.define_workflow("which", version="v2")(which)
    flow.define_workflow("which", version="v1")(which)
    async with flow.new_worker(lease="30s"):
        handle = await declared.run()
        assert await handle.result(timeout="1m") == "v2"
        assert (await handle.get()).version == "v2"
        assert await (await declared.run(version="v1")).result(timeout="1m") == "v1"


async def test_the_exact_version_comes_before_the_one_without_a_version(flow):
    @flow.define_workflow("pick", version="v1")
    async def exact(step: Step) -> str:
        return "exact"

    @flow.define_workflow("pick")
    async def unversioned(step: Step) -> str:
        return "unversioned"

    async with flow.new_worker(lease="30s"):
        assert await (await unversioned.run(version="v1")).result(timeout="1m") == "exact"
        assert await (await unversioned.run(version="v2")).result(timeout="1m") == "unversioned"
        assert await (await unversioned.run()).result(timeout="1m") == "unversioned"
        assert await (await exact.run()).result(timeout="1m") == "exact"


async def test_a_run_that_no_worker_can_serve_is_kept_until_one_comes_that_can(server_url, namespace, flow):
    @flow.define_workflow("new-code", version="v2")
    async def new_code(step: Step) -> str:
        return "v2"

    async def old(step: Step) -> str:
        return "v1"

    async with RedisFlow(server_url, namespace=namespace) as old_deploy:
        old_deploy.define_workflow("new-code", version="v1")(old)
        async with old_deploy.new_worker(lease="30s"):
            handle = await new_code.run()
            run = await until(flow, handle.id, lambda run: run.waiting_for == "stranded")
            assert (run.status, run.attempt, run.crashes, run.steps) == ("waiting", 1, 0, ())
        # The deploy goes on: the new worker wakes it at once, though its next look is 5 s away.
        async with flow.new_worker(lease="30s"):
            assert await handle.result(timeout="4s") == "v2"


async def test_a_run_of_an_unknown_workflow_is_kept_too(server_url, namespace, flow):
    @flow.define_workflow("known")
    async def known(step: Step) -> str:
        return "known"

    async with RedisFlow(server_url, namespace=namespace) as elsewhere:

        @elsewhere.define_workflow("unknown")
        async def unknown(step: Step) -> str:
            return "not unknown here"

        async with flow.new_worker(lease="30s"):
            handle = await unknown.run()
            await until(flow, handle.id, lambda run: run.waiting_for == "stranded")
            assert await (await known.run()).result(timeout="1m") == "known"
        async with elsewhere.new_worker(lease="30s"):
            assert await handle.result(timeout="4s") == "not unknown here"
