"""What is in the way, on standard error: a line for people, a document where results are JSON."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Generator

from redisflow.cli.exits import OutcomeUnknown, code_of, hint_of
from redisflow.cli.output import printable, to_json
from redisflow.cli.phrases import translated
from redisflow.errors import BackendUnavailable, PayloadStoreUnavailable


def tell_error(error: Exception, *, is_json: bool) -> int:
    """Tell it; returns the exit code that it is worth."""
    code = code_of(error)
    tell_problem(translated(str(error)), code, hint_of(error), is_json=is_json, kind=type(error).__name__)
    return code


def tell_problem(message: str, code: int, hint: str | None, *, is_json: bool, kind: str) -> None:
    """As a line, with what to do about it; or as a document of the same shape for all commands."""
    if is_json:
        text = to_json(
            {"type": f"urn:redisflow:{kind}", "title": kind, "detail": message, "hint": hint, "exit_code": code}
        )
    else:
        text = f"redisflow: {printable(' '.join(message.split()))}{f' ({hint})' if hint else ''}"
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:  # nobody reads it: the exit code is left
        give_up_broken_streams()


@contextlib.contextmanager
def unsure(whether: str, how_to_look: str) -> Generator[None]:
    """Around one call that must not be made twice: where its answer is lost, it may have been done."""
    try:
        yield
    except PayloadStoreUnavailable:  # before anything was done
        raise
    except BackendUnavailable as error:
        raise OutcomeUnknown(whether, error, how_to_look) from error


def look_or_key(look: str, key: str | None) -> str:
    """What to do where it is not known whether something was done that can have an idempotency key."""
    if key is not None:
        return "with the same --key it can be tried again safely"
    return f"look first: {look}; with --key it could be tried again safely"


def say_what_file(error: OSError) -> str:
    """With the name of what cannot be read or written."""
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)


def give_up_broken_streams() -> None:
    """Let what Python would still write at its end go nowhere, where it cannot be written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def replace_closed_streams() -> None:
    """Where a standard stream was closed before (`>&-`): nothing else may get its number, and be written to.

    Python has None for it. Standard output is read-only then, so that results cannot get lost without an error.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_WRONLY if name == "stderr" else os.O_RDONLY)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, open(number, "r" if name == "stdin" else "w", encoding="utf-8", closefd=False))  # noqa: SIM115  # for as long as the process
