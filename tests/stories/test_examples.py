"""Every example runs as it stands, in this process's memory and on a real server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PRINTED = {
    "parallel": [
        r"user='user ada' orders=\['ada-order-1', 'ada-order-2'\] unread=3",
        r"Oslo: flight for 3 days in Oslo, hotel for 3 days in Oslo, car for 3 days in Oslo",
        r"20 pictures shrunk",
    ],
    "failures": [
        r"converted: 125\.0 after 3 calls",
        r"not tried again: .*no such currency: DBL",
        r"noted: recommend: no model is loaded for ada",
        r"front page: \['Dune', 'Emma'\]",
        r"failed: .*no address is left for m1 \| disks left: 0",
        r"sent 2, failed \{'nobody': \"'nobody' is no address\"\}",
    ],
    "saga": [
        r"failed: refunded, because order-7: out of stock",
        r"ledger: charged 4200 for order-7",
        r"ledger: refunded 4200 of payment-order-7",
    ],
    "compensation": [
        r"failed: step 'reserve' failed after 1 attempt\(s\): .*: blue cup: none left",
        r"canceled",
        r"ledger: charged for blue cup",
        r"ledger: refunded blue cup",
        r"ledger: charged for red cup",
        r"ledger: reserved red cup",
        r"ledger: released red cup",
        r"ledger: refunded red cup",
    ],
    "patches": [
        r"- record: step\.run\('charge'\), call number 1, after record 1",
        r"\+ code:   step\.run\('charge'\), call number 0, at the start, .*patches\.py:\d+ in order_by_mistake",
        r"it has moved: it was call number 1, and is number 0",
        r"order: \['charged 4200'\]",
        r"order: \['checked 4200', 'charged 4200'\]",
    ],
    "subscription": [
        r"ada paid \d+ in \d+ months",
        r"steps since the last beginning: \['charge', 'cancel'\]",
    ],
    "typed": [
        r"Invoice\(order_id='order-1', customer='Ada', total=Decimal\('22\.500'\)\)",
        r"Welcome to pro, Ada",
        r"refused: .*user_id: Field required; items: Field required",
    ],
    "versions": [
        r"checkout v1: charged 250000",
        r"checkout v2: refused",
        r"bill v1: v1 charged 100",
        r"bill v3: v3 charged 101",
        r"bill: None charged 101",
    ],
    "results": [
        r"not yet: run <id> of 'export-table' has not ended within 0\.05 s: .* and goes on",
        r"result: orders\.csv \(10 rows\)",
        r"POST /exports: 202 \['run_id'\]",
        r"polled: succeeded users\.csv \(3 rows\)",
        r"GET /exports/<id>: 200 \{'status': 'succeeded', 'file': 'users\.csv \(3 rows\)'\}",
        r"a bad request: 422 \{'error': 'ValidationError'\}",
    ],
    "deadlines": [
        r"in time: rendered for 0\.1 s",
        r"too late: the run did not end before its deadline",
        r"delayed: waiting start",
        r"started later: rendered for 0\.0 s",
        r"one run: True",
        r"another input: IdempotencyConflict",
        r"canceled: True \| again: True",
        r"too late to cancel: False",
        r"the waiting caller learns it: WorkflowCanceled",
    ],
    "limits": [
        r"rendered: 12 \| at once: 2 of ada, 5 in all",
        r"few came before most of many: True",
        r"the fourth text waited: True",
        r"the password came early: True, 1 at once",
    ],
    "dynamic": [
        r"premium: \['premium', 'call with a@example\.com'\]",
        r"standard: \['standard'\]",
        r"packed: \['packed cup', 'packed pot', 'packed tray'\]",
        r"steps: \['pack', 'pack#1', 'pack#2'\]",
        r"hundreds: 300",
        r"context: tenant='acme' region='eu-acme' log=\['bucket in eu-acme', 'account for acme in eu-acme'\]",
    ],
    "sleep": [
        r"asleep: waiting timer",
        r"trial: \['sent a welcome', 'sent a reminder'\]",
        r"launch: sent the announcement \| early: False",
        r"beside a step: built",
    ],
    "encrypted": [
        r"result: 200,000 characters, nothing found",
        r"in the store: 1 object",
        r"without keys: .*it is sealed \(compressed",
        r"after a rotation: 200,000 characters, nothing found \| True",
        r"the old key was dropped too soon: the input of run [0-9a-f]{32} is encrypted with key '2026-01', .*: add it",
    ],
    "lifecycle": [
        r"failed: step 'charge' failed after 1 attempt\(s\): ConnectionError: the bank is away",
        r"by hand: order 1: paid in cash",
        r"held: 20",
        r"stopped by itself: True, still held: True",
        r"retried all that had failed: True, refused: 0",
        r"paid: 21, the first was retried: 1",
    ],
    "morning": [
        r"worker: serves order v1, tidy-up in all versions",
        r"stranded: 3 of order v2, no_code",
        r"clear: False",
        r"losses: 0",
        r"audit: 3 breaches, 3 left",
        r"repaired: 3, \{'rebuilt listing': 3\}, left for a person: 0",
        r"order 2, by the new code",
        r"no run is stranded \(1 live worker\)",
        r"all is as it must be",
    ],
    "workers": [
        r"pool opened",
        r"answer to 'how many\?'",
        r"another queue: pending",
        r"pool closed after 1 queries",
        r"pool opened",
        r"progress: running \['rows'\]",
        r"imported: \d+ rows",
        r"pool closed after 0 queries",
    ],
    "approval": [
        r"to the manager: may trip cost 120\?",
        r"paid 120",
        r"to the manager: may yacht cost 900000\?",
        r"refused by Grace",
        r"no answer",
    ],
    "agent": [
        r"Here is a poem about the sea \. \| waits for review",
        r"second draft: Here is a poem about the moon \.",
        r"published: Here is a poem about the moon \.",
        r"events in all: 18",
    ],
    "broadcast": [
        r"reached: 3",
        r"Ada: 10 % off",
        r"Bob: 10 % off",
        r"Cleo: 10 % off",
        r"later, Dora: 10 % off",
        r"nobody waits any more: \(\)",
    ],
    "children": [
        r"2997 words on 1000 pages",
        r"9 words; step 'fetch' failed after 1 attempt.*: there is no page -1",
        r"on its own: 5",
    ],
    "sync_script": [
        r"words: 4",
        r"status: succeeded",
        r"many: \[1, 2, 3\]",
        r"threads: \[2, 4, 1\]",
        r"failed: .*there is nothing to count.*",
    ],
    "find_runs": [
        r"result: c1: charged 100",
        r"of c1: \['bill succeeded', 'bill succeeded', 'bill succeeded', 'remind (pending|running|waiting)'\]",
        r"asleep: [01]",
        r"pages: 3 2 None",
        r"counts: 5 succeeded, [01] waiting",
        r"deleted: 0",
        r"not deleted: (pending|running|waiting)",
        r"failed: c9 deadline",
    ],
    "nightly": [
        r"hours, in UTC: \[1, 2\]",
        r"triggered: 42 orders",
        r"cleaned up: planned for \.[02468]",
        r"clean-up is paused",
        r"nightly goes on",
    ],
    "best_practices": [
        r"paid \| charged: \[4200\]",
        r"sum: 7 \| steps: \['summarize'\]",
    ],
    "starts": [
        r"one run: True \| it was there: True",
        r"rejected, because of the same run: True",
        r"the older one: replaced \| the newer one: pending",
        r"delayed: \[False, False, True\]",
        r"rejected for another 59 minutes: True",
        r"runs for three edits: 1 \| done: draft",
        r"expired: True",
    ],
    "stock": [
        r"in stock: 5",
        r"bought: 5 \| sold out: 15",
        r"in stock: 5",
        r"declined",
        r"charged for 5 cup",
        r"the key: rf:\{<namespace>:0\}:u:cup",
    ],
    "testing": [
        r"passed: an order is charged and shipped",
        r"passed: what cannot be shipped is refunded",
        r"passed: whatever crashes the order ends the same",
        r"passed: orders of the last release go on with this code",
        r"passed: an order survives an outage and waits for a month",
    ],
    "unit_test_a_step": [
        r"passed: test_price_by_length",
        r"passed: test_quote",
    ],
}


def test_every_example_is_here():
    files = {path.stem for path in (ROOT / "examples").glob("*.py")}
    # `make demo` runs the first two, test_web_frameworks.py the others.
    assert files - {"__init__", "demo", "order", "fastapi_app", "dashboard_fastapi", "flask_app"} == PRINTED.keys()


@pytest.mark.parametrize("server_kind", ["memory", "valkey"])
@pytest.mark.parametrize("example", PRINTED)
def test_the_example_prints_what_it_promises(example: str, server_url: str):
    result = subprocess.run(
        [sys.executable, f"examples/{example}.py"],
        cwd=ROOT,
        env={**os.environ, "REDISFLOW_URL": server_url},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == len(PRINTED[example]), result.stdout
    for line, pattern in zip(lines, PRINTED[example], strict=True):
        assert re.fullmatch(pattern, line), line
