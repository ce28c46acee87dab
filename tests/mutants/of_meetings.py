"""Safeguards of the scripts, each taken out: where runs meet clients, each other, limits and schedules."""

from __future__ import annotations

from tests.mutants.mutant import Mutant, mutant

LIB = "lua/lib/"

MEETINGS: list[Mutant] = [
    mutant(
        "a start that is sent again creates its run again",
        "S9",
        "lua/create_run.lua",
        ("if was_started(prefix, run_id) then return created end", ""),
    ),
    mutant(
        "an idempotency key is not kept",
        "S9",
        f"{LIB}keep_key.lua",
        (
            "redis.call('SET', prefix .. 'idem:' .. ARGV[at + 7], run_id .. ' ' .. ARGV[at + 9], 'PX', ARGV[at + 8])",
            "redis.call('EXISTS', prefix .. 'idem:' .. ARGV[at + 7], run_id)",
        ),
    ),
    mutant(
        "an idempotency key is given whatever the input is",
        "S9",
        f"{LIB}known_by_key.lua",
        ("print_of_first == fingerprint and 'existing' or 'conflict'", "'existing'"),
    ),
    mutant(
        "what has ended is canceled",
        "S1",
        "lua/cancel_run.lua",
        ("if is_terminal(run.status) then return { 'already', run.status } end", ""),
    ),
    mutant(
        "a run that is canceled leaves its holder the fence",
        "S12",
        f"{LIB}end_by_verdict.lua",
        ("'ca', cause, 'f', taken_fence(run.fence))", "'ca', cause)"),
    ),
    mutant(
        "a verdict that is fixed is changed by a later one",
        "S12",
        f"{LIB}fix_verdict.lua",
        ("if not run.verdict then", "if true then"),
    ),
    mutant(
        "a run that is ended from outside leaves its timer",
        "T1",
        f"{LIB}end_run.lua",
        ("if run.due then redis.call('ZREM', prefix .. 'delayed', run_id) end", ""),
    ),
    mutant(
        "a child tells its end as often as it is told",
        "S17",
        f"{LIB}give_end.lua",
        ("redis.call('HDEL', kids, child)", ""),
    ),
    mutant(
        "a child of this partition does not tell its end",
        "S17",
        f"{LIB}tell_parent.lua",
        ("    give_end(prefix, parent, child, item, now)\n", ""),
    ),
    mutant(
        "mail stays in its box when it is recorded",
        "T3",
        f"{LIB}effect_take.lua",
        ("redis.call('HDEL', mail, number)", ""),
    ),
    mutant(
        "mail is numbered by how much lies there",
        "S16",
        f"{LIB}add_mail.lua",
        (
            "redis.call('HINCRBY', prefix .. 'run:' .. run_id, 'm', 1)",
            "redis.call('HLEN', prefix .. 'mail:' .. run_id) + 1",
        ),
    ),
    mutant(
        "mail wakes nobody",
        "S16",
        f"{LIB}put_mail.lua",
        ("if wait_ms == 0 then\n      wake_run(prefix, run_id, run)", "if wait_ms == 0 then\n"),
    ),
    mutant(
        "a broadcast that is sent again arrives again",
        "S16",
        f"{LIB}reach_waiters.lua",
        ("if known then return known end", ""),
    ),
    mutant(
        "a run that waits for broadcasts is not registered",
        "T1",
        f"{LIB}effect_wait.lua",
        ("redis.call('ZADD', prefix .. 'signal:' .. hash, signal_number(prefix), run_id)", ""),
    ),
    mutant(
        "one more may have a slot than a limit allows",
        "S18",
        f"{LIB}take_slots.lua",
        ("if over < 0 then return true end", "if over <= 0 then return true end"),
    ),
    mutant(
        "slots are not given back",
        "S18",
        f"{LIB}effect_free.lua",
        ("freeing[#freeing + 1] = run_id", ""),
    ),
    mutant(
        "a rate forgets after half of its period",
        "S18",
        f"{LIB}take_slots.lua",
        ("'-inf', now - period)", "'-inf', now - period / 2)"),
    ),
    mutant(
        "a run that begins anew has used nothing of its rates",
        "S18",
        f"{LIB}keep_uses.lua",
        ("redis.call('ZADD', holders, used_at, run_id .. '~' .. continued)", ""),
    ),
    mutant(
        "a permit of an earlier round is taken",
        "S18",
        "lua/give_permit.lua",
        ("if given and tonumber(this_round) == round then", "if given then"),
    ),
    mutant(
        "a permit that nobody wants is kept",
        "S18",
        "lua/give_permit.lua",
        ("tell_home(prefix, what, run_id, tonumber(this_round), { hash = hash, bounds = bounds, home = home })", ""),
    ),
    mutant(
        "a tick is fired as often as it is called",
        "S15",
        "lua/fire_schedule.lua",
        ("if r[4] == tick then return { r[5] } end", ""),
        ("if r[1] ~= revision or r[2] ~= meant or r[3] then return { 'stale' } end", ""),
    ),
    mutant(
        "a retry that is sent again retries again",
        "S8",
        "lua/retry_run.lua",
        ("if tonumber(r[2] or '0') >= tonumber(retry) then return { 'retried' } end", ""),
        (
            "if run.status ~= 'failed' then return { 'already', run.status } end",
            "if run.status == 'running' then return { 'already', run.status } end",
        ),
        ("if r[1] ~= before then return { 'changed' } end", ""),
    ),
    mutant(
        "upkeep does not rebuild lost entries",
        "R5",
        f"{LIB}mend_run.lua",
        ("if entry_lost then requeue(prefix, run_id, run.queue, run.entry, taken_fence(run.fence)) end", ""),
    ),
    mutant(
        "upkeep does not rebuild lost timers",
        "R5",
        f"{LIB}mend_run.lua",
        ("then set_due(prefix, run_id, run.due) end", "then redis.call('PING') end"),
    ),
]
