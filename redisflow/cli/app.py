"""The command line as one application: which commands there are, and what becomes of their errors."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

import redisflow
from redisflow.cli.commands import GROUPS, SINGLE, Command
from redisflow.cli.exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE
from redisflow.cli.output import flush
from redisflow.cli.problems import give_up_broken_streams, say_what_file, tell_error, tell_problem
from redisflow.cli.signals import Ended
from redisflow.errors import RedisflowError


def make_app() -> App:
    """With all commands, none of them imported."""
    app = App(
        name="redisflow",
        help="Durable workflows on the Redis that you already run.",
        version=redisflow.__version__,
        version_flags=["--version", "-V"],
        end_of_options_delimiter="--",
        default_parameter=Parameter(show_default=_shown_default),
    )
    for each in GROUPS:
        group = App(name=each.name, help=each.what, version_flags=[])
        for place, command in enumerate(each.commands):
            _add(group, command, sort_key=place)
        app.command(group)
    for command in SINGLE:
        _add(app, command)
    return app


def _shown_default(value: object) -> str | None:
    """That a flag is not set where nobody sets it, and that there are no words where there are none, is known."""
    return None if value in (None, False, (), "") else str(value)


def _add(app: App, command: Command, *, sort_key: int | None = None) -> None:
    # It is named by where it is: what is not called is not imported.
    app.command(
        f"redisflow.cli.{command.where}",
        name=command.name,
        help=command.what,
        help_epilogue=f"Example: redisflow {command.example}",
        sort_key=sort_key,
    )


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
    """Of the command that was meant, as far as it is known."""
    known = {each.name: {command.name for command in each.commands} for each in GROUPS}
    known |= {each.name: set[str]() for each in SINGLE}
    meant = [word for word in words[:1] if word in known]
    meant += [word for word in words[1:2] if meant and word in known[meant[0]]]
    return " ".join(("redisflow", *meant, "--help"))


def _asks_for_json(words: Sequence[str]) -> bool:
    """Whether the options say so; they are looked for by hand, since words that cannot be parsed have errors, too."""
    options = list(words)[: words.index("--")] if "--" in words else list(words)
    return any(
        word == "--json" or f"{word} {value}" in _JSON_PAIRS or word in _JSON_WORDS
        for word, value in zip(options, [*options[1:], ""], strict=True)
    )


_JSON_PAIRS = frozenset(f"{option} {form}" for option in ("-o", "--output") for form in ("json", "jsonl"))
_JSON_WORDS = frozenset(f"{option}{form}" for option in ("-o", "-o=", "--output=") for form in ("json", "jsonl"))
