"""The command line as one application: which commands there are, and what becomes of their errors."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from cyclopts import App, CycloptsError

import redisflow
from redisflow.cli.exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from redisflow.cli.output import flush
from redisflow.cli.problems import give_up_broken_streams, say_what_file, tell_error, tell_problem
from redisflow.cli.signals import Ended
from redisflow.errors import RedisflowError

# Commands are named by where they are: what is not called is not imported.
_GROUPS = {
    "run": (
        "Start, find, watch and change runs.",
        (
            ("list", "find_runs:list_runs", "List runs."),
            ("show", "show_run:show", "Show a run: its steps, payloads and error."),
            ("trace", "trace:trace", "Show what a run and its children did when, as bars over time."),
            ("watch", "show_run:watch", "Follow a run until it has ended."),
            ("start", "start_run:start", "Start a run."),
            ("exec", "start_run:execute", "Start a run and wait for its result."),
            ("result", "start_run:result", "Wait for the result of a run."),
            ("signal", "change_runs:signal", "Send a signal to a run, or to all that wait for it."),
            ("cancel", "change_runs:cancel", "Cancel runs."),
            ("retry", "change_runs:retry", "Retry failed runs in place."),
            ("rerun", "change_runs:rerun", "Start runs anew, with the same inputs."),
            ("fork", "change_runs:fork", "Start a run that shares the beginning of another."),
            ("pause", "change_runs:pause", "Pause runs."),
            ("resume", "change_runs:resume", "Let paused runs go on."),
            ("delete", "change_runs:delete", "Delete finished runs."),
            ("export", "export_runs:export", "Export runs with their records."),
            ("replay", "replay:replay", "Replay runs with the code that is here: does it still do the same?"),
        ),
    ),
    "workflow": (
        "What is stored of each workflow; pause and resume them.",
        (
            ("list", "workflows:list_workflows", "List workflows, and how many runs each has."),
            ("show", "workflow_show:show", "Show one: its versions, who serves them, how its last runs went."),
            ("pause", "controls:pause_workflow", "Hold the runs of a workflow back."),
            ("resume", "controls:resume_workflow", "Let them go on."),
        ),
    ),
    "queue": (
        "Look into queues; pause and resume them.",
        (
            ("list", "queues:list_queues", "List queues, and how much lies in each."),
            ("peek", "queues:peek", "List the runs that are claimed next."),
            ("pause", "controls:pause_queue", "Hold the runs of a queue back."),
            ("resume", "controls:resume_queue", "Let them go on."),
        ),
    ),
    "schedule": (
        "Schedules: what starts runs by the clock.",
        (
            ("list", "schedules:list_schedules", "List schedules and their next ticks."),
            ("show", "schedules:show", "Show one: when it is due, in words too, and its last runs."),
            ("create", "schedules:create", "Create one, or give the one of this id another definition."),
            ("pause", "schedules:pause", "Start nothing from now on."),
            ("resume", "schedules:resume", "Go on with the next tick."),
            ("trigger", "schedules:trigger", "Start a run of it now."),
            ("delete", "schedules:delete", "Delete it; its runs stay."),
        ),
    ),
    "workers": (
        "The workers of a namespace.",
        (
            ("list", "workers:list_workers", "List the workers that are alive."),
            ("drain", "workers:drain", "Let workers claim nothing more, and stop."),
        ),
    ),
    "namespace": (
        "The namespaces of a server.",
        (
            ("list", "namespaces:list_namespaces", "List the namespaces of the server."),
            ("create", "namespaces:create", "Create one, with its number of partitions."),
            ("delete", "namespaces:delete", "Delete one, with all that is stored in it."),
        ),
    ),
    "config": ("The settings of this folder.", (("show", "settings_show:show", "Show each, and where it was said."),)),
}
_SINGLE = (
    ("dev", "dev.command:dev", "Run everything here: a server, a worker that takes up changes, the dashboard."),
    ("init", "init:init", "Write a small project that runs."),
    ("doctor", "doctor:doctor", "What is not as it should be, and what to do about it."),
    ("dashboard", "dashboard:dashboard", "Serve the dashboard."),
    ("worker", "app:worker", "Claim and run the workflows of a RedisFlow object."),
    ("stranded", "workers:stranded", "What no live worker serves, and why."),
    ("metrics", "metrics:metrics", "What happened within the last hour, and what lies in queues."),
    ("bench", "bench:bench", "Measure this server from this machine, in a namespace that is deleted."),
    ("completion", "completion:completion", "Print what bash, zsh or fish needs to complete commands."),
    ("audit", "audit:audit", "Is everything that is stored as it must be?"),
)


def make_app() -> App:
    """With all commands, none of them imported."""
    app = App(
        name="redisflow",
        help="Durable workflows on the Redis that you already run.",
        version=redisflow.__version__,
        version_flags=["--version", "-V"],
        end_of_options_delimiter="--",
    )
    for name, (says, commands) in _GROUPS.items():
        group = App(name=name, help=says, version_flags=[])
        for place, (command, where, what) in enumerate(commands):
            group.command(f"redisflow.cli.{where}", name=command, help=what, sort_key=place)
        app.command(group)
    for name, where, what in _SINGLE:
        app.command(f"redisflow.cli.{where}", name=name, help=what)
    return app


def worker() -> None:
    """Claim and run workflows: `redisflow worker MODULE:NAME` (see `redisflow worker --help`)."""


def run_command(words: Sequence[str]) -> int:
    """Run a command; returns the exit code of the process."""
    logging.basicConfig(level=logging.DEBUG if "--debug" in words else logging.ERROR)
    is_json = _asks_for_json(words)
    try:
        code = make_app()(
            list(words), exit_on_error=False, print_error=False, result_action="return_value", backend="asyncio"
        )
        flush()
    except BrokenPipeError:
        give_up_broken_streams()  # whoever read it has seen enough (`| head`)
        return 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Ended as error:
        return 128 + error.number
    except CycloptsError as error:
        tell_problem(str(error), EXIT_USAGE, _where_help_is(words), is_json=is_json, kind="Usage")
        return EXIT_USAGE
    except (RedisflowError, ValueError) as error:
        if "--debug" in words:
            raise
        return tell_error(error, is_json=is_json)
    except OSError as error:
        if "--debug" in words:
            raise
        give_up_broken_streams()
        tell_problem(say_what_file(error), EXIT_FAILED, None, is_json=is_json, kind=type(error).__name__)
        return EXIT_FAILED
    return code if isinstance(code, int) else 0


def _where_help_is(words: Sequence[str]) -> str:
    known = {*_GROUPS, *(name for name, _, _ in _SINGLE)}
    return " ".join(("redisflow", *(word for word in words[:1] if word in known), "--help"))


def _asks_for_json(words: Sequence[str]) -> bool:
    """Whether the options say so; they are looked for by hand, since words that cannot be parsed have errors, too."""
    options = list(words)[: words.index("--")] if "--" in words else list(words)
    return any(
        word == "--json" or f"{word} {value}" in _JSON_PAIRS or word in _JSON_WORDS
        for word, value in zip(options, [*options[1:], ""], strict=True)
    )


_JSON_PAIRS = frozenset(f"{option} {form}" for option in ("-o", "--output") for form in ("json", "jsonl"))
_JSON_WORDS = frozenset(f"{option}{form}" for option in ("-o", "-o=", "--output=") for form in ("json", "jsonl"))
