"""Refuses what workflow code may not do and asyncio cannot see: synchronous sockets, subprocesses, written files.

Python tells audit hooks of these before they happen. Only what happens on a workflow's own loop is looked at, so step
bodies, the worker and everything else are free. The hard thing is who is to blame: an import, a log handler or the
garbage collector may open a file in the middle of workflow code, and no pass depends on it.
"""

# pyright: reportPrivateUsage=false
# The running loop and the frames are asked for on each event: by the ways that are cheap.

from __future__ import annotations

import asyncio
import contextlib
import os
import site
import sys
import sysconfig
import threading
from collections.abc import Generator
from types import FrameType
from typing import Any

from redisflow.engine.loop import WorkflowLoop
from redisflow.errors import NotAllowedInWorkflow


@contextlib.contextmanager
def refuse_side_effects() -> Generator[None]:
    """Refuse side effects in the workflow code of this process: NotAllowedInWorkflow is raised at their line.

    It holds for all threads and all workers of the process; used again inside itself it changes nothing. Without it
    nothing is installed, and afterwards what is left costs a comparison for each event that Python audits.

    It sees what Python audits: connecting and resolving, requests of the standard library's clients, subprocesses,
    threads, signals, files that are opened for writing, moved, removed or changed, `sqlite3`. It does not see what is
    not audited: a `print`, bytes on a connection that was opened before, libraries that do their own I/O in C; nor
    clocks and chance, which show as drift. Code that catches every exception can swallow what is raised.
    """
    _switch.turn(1)
    try:
        yield
    finally:
        _switch.turn(-1)


class _Switch:
    """Python has no way to remove an audit hook: one is installed once, and looks whether anybody wants it."""

    def __init__(self) -> None:
        self.users = 0
        self._lock = threading.Lock()
        self._is_installed = False

    def turn(self, by: int) -> None:
        with self._lock:
            self.users += by
            if not self._is_installed:
                sys.addaudithook(_look)
                self._is_installed = True


_switch = _Switch()


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if not _switch.users or event not in _EFFECTS:
        return
    if type(asyncio._get_running_loop()) is not WorkflowLoop:  # noqa: SLF001  # documented for those who write loops
        return
    if event == "open" and not _writes(*arguments):
        return
    line = _line_to_blame(sys._getframe(1))  # noqa: SLF001  # the cheap way to a frame
    if line is not None:
        what = "open a file for writing" if event == "open" else f"use {event}"
        msg = (
            f"workflow code may not {what} ({line}): it runs again on each pass, and would do it again. Do it in a "
            "step, `await step.run(name, fn)`"
        )
        raise NotAllowedInWorkflow(msg)


def _writes(path: Any, mode: str | None, flags: int) -> bool:
    # A descriptor was opened before; what is written to the null device changes nothing.
    if isinstance(path, int) or path == os.devnull:
        return False
    return any(letter in (mode or "") for letter in "wax+") or bool(flags & _WRITING_FLAGS)


def _line_to_blame(frame: FrameType | None) -> str | None:
    """The innermost line of user code, else of the library that the workflow is part of; None where it is nobody's.

    Frames of the standard library and of installed packages stand between a line and what it comes to.
    """
    own: FrameType | None = None
    outermost: FrameType | None = None
    while frame is not None:
        module: str = frame.f_globals.get("__name__", "")
        if module == WorkflowLoop.__module__:
            break
        package = module.partition(".")[0]
        if package in _EXCUSED or module in _EXCUSED or frame.f_code.co_name == "__del__":
            return None
        if package == "redisflow":
            if own is None:
                return None  # the engine's own work
        elif package not in _CARRIERS:
            outermost = frame
            if own is None and not frame.f_code.co_filename.startswith(_LIBRARIES):
                own = frame
        frame = frame.f_back
    blamed = own or outermost
    if blamed is None:
        return None
    return f"{blamed.f_code.co_filename}:{blamed.f_lineno} in {blamed.f_code.co_name}"


# What these do in the middle of workflow code is no business of it: a module is imported once, log records go where
# the process sends them, finalizers run when the garbage collector does.
_EXCUSED = frozenset({"importlib._bootstrap", "importlib._bootstrap_external", "logging", "weakref"})
_CARRIERS = frozenset({"anyio", "asyncio", "contextlib"})
_LIBRARIES = (
    "<frozen ",
    *(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    *(folder + os.sep for folder in (*site.getsitepackages(), site.getusersitepackages())),
)
_WRITING_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

# Out of the table of audit events in Python's documentation. Not here: what reads, and what changes this process alone
# (its environment, its working directory).
_BY_MODULE = {
    "socket": "bind connect getaddrinfo gethostbyaddr gethostbyname getnameinfo sendmsg sendto sethostname",
    "ftplib": "connect sendcmd",
    "http.client": "connect send",
    "imaplib": "open send",
    "nntplib": "connect putline",
    "poplib": "connect putline",
    "smtplib": "connect send",
    "telnetlib.Telnet": "open write",
    "urllib": "Request",
    "webbrowser": "open",
    "subprocess": "Popen",
    "pty": "spawn",
    "os": (
        "exec fork forkpty kill killpg posix_spawn spawn startfile startfile/2 system "
        "chflags chmod chown link lockf mkdir remove removexattr rename rmdir setxattr symlink truncate utime"
    ),
    "signal": "pthread_kill",
    "_thread": "start_new_thread start_joinable_thread",
    "fcntl": "flock lockf",
    "shutil": "chown copyfile copymode copystat copytree make_archive move rmtree unpack_archive",
    "tempfile": "mkdtemp mkstemp",
    "sqlite3": "connect",
    "syslog": "syslog",
}
_EFFECTS = frozenset({"open"} | {f"{module}.{name}" for module, names in _BY_MODULE.items() for name in names.split()})
