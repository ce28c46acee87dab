"""Safeguards of the scripts, each taken out: of claims, records and ends."""

from __future__ import annotations

from tests.mutants.mutant import Mutant, mutant

LIB = "lua/lib/"

CLAIMS: list[Mutant] = [
    mutant(
        "a claim keeps the fence of the one before",
        "S5",
        f"{LIB}next_fence.lua",
        ("string.match(fence, '^%d+') + 1, nonce", "string.match(fence, '^%d+'), string.match(fence, ':(.*)$')"),
    ),
    mutant(
        "a claim takes an entry that is not the run's current one",
        "S6",
        f"{LIB}claim_entry.lua",
        ("if status ~= 'pending' or current ~= entry then", "if status ~= 'pending' and status ~= 'running' then"),
    ),
    mutant(
        "a claim asked again gives what others hold by now",
        "S6",
        f"{LIB}claim_again.lua",
        (
            "if r[1] ~= 'running' or string.match(r[2], ':(.*)$') ~= nonce then return end",
            "if not r[1] then return end",
        ),
    ),
    mutant(
        "a claim asked again claims other runs",
        "R3",
        "lua/claim_runs.lua",
        ("if redis.call('HGET', worker_key, 'op') == operation then", "if false then"),
    ),
    mutant(
        "a group that begins at the end of its stream",
        "C9",
        f"{LIB}read_new.lua",
        ("'workers', '0', 'MKSTREAM'", "'workers', '$', 'MKSTREAM'"),
    ),
    mutant(
        "claims are acknowledged when they are read",
        "A5",
        f"{LIB}read_new.lua",
        (
            "reply = redis.call('XREADGROUP', 'GROUP', 'workers', worker, 'COUNT', count, 'STREAMS'",
            "reply = redis.call('XREADGROUP', 'GROUP', 'workers', worker, 'COUNT', count, 'NOACK', 'STREAMS'",
        ),
        (
            "reply = redis.pcall('XREADGROUP', 'GROUP', 'workers', worker, 'COUNT', count, 'STREAMS'",
            "reply = redis.pcall('XREADGROUP', 'GROUP', 'workers', worker, 'COUNT', count, 'NOACK', 'STREAMS'",
        ),
    ),
    mutant(
        "a work stream that is trimmed",
        "A9",
        f"{LIB}enter_stream.lua",
        (
            "id = redis.call('XADD', stream, '*', 'r', run_id)",
            "id = redis.call('XADD', stream, 'MAXLEN', '2', '*', 'r', run_id)",
        ),
    ),
    mutant(
        "a claim does not look at the deadline",
        "S13",
        f"{LIB}claim_entry.lua",
        ("if deadline and tonumber(deadline) <= now and", "if deadline and false and"),
    ),
    mutant(
        "a heartbeat renews what others hold",
        "A4",
        "lua/renew_runs.lua",
        ("return r[1] == 'running' and r[2] == fence, r[3]", "return r[1] == 'running', r[3]"),
    ),
    mutant(
        "upkeep takes runs whose lease is not over",
        "S6",
        "lua/reclaim_runs.lua",
        ("if item[3] >= tonumber(lease_ms) then", "if item[3] >= 0 then"),
    ),
    mutant(
        "upkeep takes a run by an entry of old",
        "A15",
        "lua/reclaim_runs.lua",
        (
            "if not run or run.entry ~= entry or (run.status ~= 'running' and run.status ~= 'pending') then",
            "if not run then",
        ),
    ),
    mutant(
        "upkeep takes a run and leaves its holder the fence",
        "S5",
        f"{LIB}taken_fence.lua",
        ("return (fence and string.match(fence, '^%d+') or '0') .. ':-'", "return fence or '0:-'"),
    ),
    mutant(
        "a run that is given back keeps its old entry",
        "T1",
        f"{LIB}requeue.lua",
        ("if entry and entry ~= new then pcall(leave_stream, prefix, queue, entry) end", ""),
    ),
    mutant(
        "crashes are not counted",
        "S21",
        "lua/reclaim_runs.lua",
        ("run.crashes = run.crashes + 1", "run.crashes = run.crashes + 0"),
    ),
    mutant(
        "one crash too many is allowed",
        "S21",
        "lua/reclaim_runs.lua",
        ("if run.crashes >= tonumber(crash_limit) then", "if run.crashes > tonumber(crash_limit) then"),
    ),
    mutant(
        "a worker that lives is charged a crash",
        "A18",
        "lua/reclaim_runs.lua",
        ("if run.has_begun and not alive then", "if run.has_begun then"),
        ("if run.has_begun and alive and is_early then return end", ""),
    ),
    mutant(
        "a run that is handed back keeps its fence",
        "S5",
        "lua/release_run.lua",
        (
            "requeue(prefix, run_id, r[4] or nil, entry, returned_fence(fence))",
            "requeue(prefix, run_id, r[4] or nil, entry, fence)",
        ),
    ),
    mutant(
        "a consumer is deleted with what it still holds",
        "A11",
        "lua/sweep_workers.lua",
        ("if pending == 0 and not is_alive(prefix, name, now) then", "if not is_alive(prefix, name, now) then"),
    ),
]

IMPORTS: list[Mutant] = [
    mutant(
        "an import that is asked for again takes its own run for another's",
        "R3",
        "lua/import_run.lua",
        ("return { by == operation and 'imported' or 'existing' }", "return { 'existing' }"),
    ),
    mutant(
        "a run that was imported goes with what was put aside for it",
        "T4",
        "lua/import_run.lua",
        ("  redis.call('PERSIST', key)\n", ""),
    ),
    mutant(
        "what was put aside for an import stays",
        "T4",
        "lua/stage_import.lua",
        ("redis.call('PEXPIRE', staged, keep_ms)\n", ""),
    ),
    mutant(
        "a piece of an import that is sent again is there twice",
        "R3",
        "lua/stage_import.lua",
        ("if #redis.call('XRANGE', staged, ARGV[at], ARGV[at]) == 0 then", "if true then"),
    ),
]

RECORDS: list[Mutant] = [
    mutant(
        "no holder's fence is checked",
        "R1",
        f"{LIB}hold.lua",
        ("if r[2] ~= fence then return is_terminal(r[1]) and 'ended' or 'fenced' end", ""),
    ),
    mutant(
        "a record may be appended wherever its end is",
        "S3",
        f"{LIB}hold.lua",
        ("and r[3] == entry and r[4] == before then", "and r[3] == entry then"),
    ),
    mutant(
        "a repeated commit is refused",
        "R3",
        f"{LIB}hold.lua",
        ("return r[4] == after and 'repeat' or 'behind', r", "return 'behind', r"),
    ),
    mutant(
        "records are written one place too far back",
        "S3",
        f"{LIB}append_records.lua",
        (
            "local number, size = string.match(before, '^%d+'), #fields",
            "local number, size = math.max(0, string.match(before, '^%d+') - 1), #fields",
        ),
    ),
    mutant(
        "a commit does not look at the deadline",
        "S12",
        "lua/commit_run.lua",
        ("local is_late = run[5] and tonumber(run[5]) <= now", "local is_late = false"),
    ),
    mutant(
        "an end does not look at the deadline",
        "S12",
        "lua/finish_run.lua",
        ("local is_late = run[5] and tonumber(run[5]) <= now", "local is_late = false"),
    ),
    mutant(
        "a run is parked although mail has come",
        "S16",
        f"{LIB}has_mail.lua",
        ("return seen ~= '' and", "return false and"),
    ),
    mutant(
        "a parked run has no timer",
        "R5",
        "lua/park_run.lua",
        ("if due_ms then set_due(prefix, run_id, due_ms) end", ""),
    ),
    mutant(
        "a run that ends leaves its timer",
        "T1",
        "lua/finish_run.lua",
        ("if due then redis.call('ZREM', prefix .. 'delayed', run_id) end", ""),
    ),
    mutant(
        "a run that ends stays in its stream",
        "T1",
        "lua/finish_run.lua",
        ("leave_streams(prefix, left)\nlocal all_listed", "local all_listed"),
    ),
    mutant(
        "a run that ends stays among the unfinished",
        "T2",
        "lua/finish_run.lua",
        (
            "redis.pcall('ZREM', prefix .. 'runs:' .. workflow, unpack(ids))",
            "redis.pcall('ZCARD', prefix .. 'runs:' .. workflow)",
        ),
    ),
    mutant(
        "timers fire a second early",
        "S14",
        f"{LIB}wake_due.lua",
        ("'-inf', now, 'LIMIT'", "'-inf', now + 1000, 'LIMIT'"),
        ("not pcall(wake_one, prefix, run_id, now)", "not pcall(wake_one, prefix, run_id, now + 1000)"),
    ),
    mutant(
        "a run that is woken has no entry",
        "T1",
        f"{LIB}wake_run.lua",
        (
            "entry = enter_stream(prefix, run.queue, 'w', run_id)\n  end\n  if entry",
            "entry = 'w:1-1'\n  end\n  if entry",
        ),
    ),
    mutant(
        "a run that is woken keeps its timer",
        "T1",
        f"{LIB}wake_run.lua",
        ("redis.call('ZREM', prefix .. 'delayed', run_id)", "redis.call('ZCARD', prefix .. 'delayed')"),
    ),
]
