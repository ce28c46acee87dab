"""Which commands there are: where each is, what it does, and an example. None of them is imported here."""

from __future__ import annotations

from typing import NamedTuple

_ID = "01a21bc2111279edb6ff2e1c38da0000"


class Command(NamedTuple):
    """One command."""

    name: str
    where: str
    """MODULE:FUNCTION in `redisflow.cli`."""
    what: str
    example: str
    """Without `redisflow`."""


class Group(NamedTuple):
    """Commands about one kind of thing."""

    name: str
    what: str
    commands: tuple[Command, ...]


GROUPS = (
    Group(
        "run",
        "Start, find, watch and change runs.",
        (
            Command("list", "find_runs:list_runs", "List runs.", "run list --status failed --created-after 1h"),
            Command("show", "show_run:show", "Show a run: its steps, payloads and error.", f"run show {_ID}"),
            Command(
                "trace",
                "trace:trace",
                "Show what a run and its children did when, as bars over time.",
                f"run trace {_ID} --live",
            ),
            Command("watch", "show_run:watch", "Follow a run until it has ended.", f"run watch {_ID}"),
            Command(
                "start",
                "start_run:start",
                "Start a run.",
                """run start order --input '{"total": 40}' --tag customer=c1""",
            ),
            Command(
                "exec",
                "start_run:execute",
                "Start a run and wait for its result.",
                "run exec order --input @order.json --timeout 1m",
            ),
            Command("result", "start_run:result", "Wait for the result of a run.", f"run result {_ID} --timeout 1m"),
            Command(
                "signal",
                "change_runs:signal",
                "Send a signal to a run, or to all that wait for it.",
                f"run signal approved --run {_ID}",
            ),
            Command("cancel", "change_runs:cancel", "Cancel runs.", "run cancel --workflow order --tag customer=c1"),
            Command(
                "retry",
                "change_runs:retry",
                "Retry failed runs in place.",
                "run retry --workflow order --created-before 1h --dry-run",
            ),
            Command("rerun", "change_runs:rerun", "Start runs anew, with the same inputs.", f"run rerun {_ID}"),
            Command(
                "fork",
                "change_runs:fork",
                "Start a run that shares the beginning of another.",
                f"run fork {_ID} --from-step ship",
            ),
            Command("pause", "change_runs:pause", "Pause runs.", f"run pause {_ID}"),
            Command("resume", "change_runs:resume", "Let paused runs go on.", "run resume --workflow order"),
            Command(
                "delete",
                "change_runs:delete",
                "Delete finished runs.",
                "run delete --status succeeded --created-before 30d",
            ),
            Command(
                "export", "export_runs:export", "Export runs with their records.", f"run export {_ID} --to run.json"
            ),
            Command(
                "import",
                "import_runs:import_runs",
                "Import finished runs that were exported elsewhere.",
                "run import runs.jsonl --dry-run",
            ),
            Command(
                "replay",
                "replay:replay",
                "Replay runs with the code that is here: does it still do the same?",
                "run replay run.json --code shop.workflows:flow",
            ),
        ),
    ),
    Group(
        "workflow",
        "What is stored of each workflow; pause and resume them.",
        (
            Command(
                "list",
                "workflows:list_workflows",
                "List workflows, and how many runs each has.",
                "workflow list --detailed",
            ),
            Command(
                "show",
                "workflow_show:show",
                "Show one: its versions, who serves them, how its last runs went.",
                "workflow show order",
            ),
            Command("pause", "controls:pause_workflow", "Hold the runs of a workflow back.", "workflow pause order"),
            Command("resume", "controls:resume_workflow", "Let them go on.", "workflow resume order"),
        ),
    ),
    Group(
        "queue",
        "Look into queues; pause and resume them.",
        (
            Command("list", "queues:list_queues", "List queues, and how much lies in each.", "queue list"),
            Command("peek", "queues:peek", "List the runs that are claimed next.", "queue peek default --limit 5"),
            Command("pause", "controls:pause_queue", "Hold the runs of a queue back.", "queue pause default"),
            Command("resume", "controls:resume_queue", "Let them go on.", "queue resume default"),
        ),
    ),
    Group(
        "schedule",
        "Schedules: what starts runs by the clock.",
        (
            Command("list", "schedules:list_schedules", "List schedules and their next ticks.", "schedule list --utc"),
            Command(
                "show",
                "schedules:show",
                "Show one: when it is due, in words too, and its last runs.",
                "schedule show nightly",
            ),
            Command(
                "create",
                "schedules:create",
                "Create one, or give the one of this id another definition.",
                'schedule create nightly report --cron "0 3 * * *"',
            ),
            Command("pause", "schedules:pause", "Start nothing from now on.", "schedule pause nightly"),
            Command("resume", "schedules:resume", "Go on with the next tick.", "schedule resume nightly"),
            Command("trigger", "schedules:trigger", "Start a run of it now.", "schedule trigger nightly"),
            Command("delete", "schedules:delete", "Delete it; its runs stay.", "schedule delete nightly --dry-run"),
        ),
    ),
    Group(
        "workers",
        "The workers of a namespace.",
        (
            Command("list", "workers:list_workers", "List the workers that are alive.", "workers list --gone"),
            Command("runs", "workers:list_held", "List the runs that workers hold now.", "workers runs --limit 5"),
            Command(
                "drain",
                "workers:drain",
                "Let workers claim nothing more, and stop.",
                "workers drain --all --wait --timeout 2m",
            ),
        ),
    ),
    Group(
        "namespace",
        "The namespaces of a server.",
        (
            Command("list", "namespaces:list_namespaces", "List the namespaces of the server.", "namespace list"),
            Command(
                "create",
                "namespaces:create",
                "Create one, with its number of partitions.",
                "namespace create shop --partitions 16",
            ),
            Command(
                "delete",
                "namespaces:delete",
                "Delete one, with all that is stored in it.",
                "namespace delete shop --dry-run",
            ),
        ),
    ),
    Group(
        "config",
        "The settings of this folder.",
        (Command("show", "settings_show:show", "Show each, and where it was said.", "config show"),),
    ),
)
SINGLE = (
    Command(
        "dev",
        "dev.command:dev",
        "Run everything here: a server, a worker that takes up changes, the dashboard.",
        "dev shop.workflows:flow --port 9000",
    ),
    Command("init", "init:init", "Write a small project that runs.", "init shop --fastapi"),
    Command("doctor", "doctor:doctor", "What is not as it should be, and what to do about it.", "doctor --strict"),
    Command("dashboard", "dashboard:dashboard", "Serve the dashboard.", "dashboard --port 9000 --read-only"),
    Command(
        "worker",
        "app:worker",
        "Claim and run the workflows of a RedisFlow object.",
        "worker shop.workflows:flow --concurrency 50",
    ),
    Command("stranded", "workers:stranded", "What no live worker serves, and why.", "stranded --detailed"),
    Command(
        "metrics",
        "metrics:metrics",
        "What happened within the last hour, and what lies in queues.",
        "metrics --since 15m",
    ),
    Command(
        "bench",
        "bench:bench",
        "Measure this server from this machine, in a namespace that is deleted.",
        "bench --profile steps10 --runs 2000 --concurrency 100",
    ),
    Command(
        "completion",
        "completion:completion",
        "Print what bash, zsh or fish needs to complete commands.",
        "completion bash",
    ),
    Command("audit", "audit:audit", "Is everything that is stored as it must be?", "audit --repair"),
)
