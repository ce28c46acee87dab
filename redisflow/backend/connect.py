"""From a URL to an address, credentials and TLS; and back to text that may be logged.

    redis://[user:password@]host[:6379][/db]          one server
    rediss://...                                      the same over TLS, verified
    unix://[user:password@]/path/to.sock[?db=0]       one server on this machine
    redis+sentinel://[user:password@]host[:26379],host.../service[/db]
    redis+cluster://[user:password@]host[:6379],host...
    rediss+sentinel://..., rediss+cluster://...       the same over TLS
    memory://[name]                                   inside this process, shared by name

Options after `?`: `db`, `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, and for Sentinels with credentials of their own
`sentinel_username` and `sentinel_password`. The hard thing is what must not happen: a password never reaches a log, and
TLS is never unverified because of a parameter that was copied along.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redisflow.errors import BackendError, InvalidName
from redisflow.names import check_name

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["single", "sentinel", "cluster", "memory"]
Address = tuple[str, int]

_KINDS: Mapping[str, tuple[Kind, bool, int]] = {
    "redis": ("single", False, 6379),
    "rediss": ("single", True, 6379),
    "unix": ("single", False, 0),
    "redis+sentinel": ("sentinel", False, 26379),
    "rediss+sentinel": ("sentinel", True, 26379),
    "redis+cluster": ("cluster", False, 6379),
    "rediss+cluster": ("cluster", True, 6379),
    "memory": ("memory", False, 0),
}
_SSL_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_OPTIONS = frozenset({"db", "ssl_cert_reqs", "sentinel_username", "sentinel_password", *_SSL_OPTIONS})
# Up to the last @, whatever is before it: a password with a / or a ? in it that nobody encoded is one all the same.
_CREDENTIALS = re.compile(r"^(\w[\w+.-]*://)?.*@", re.DOTALL)
_SECRET_OPTIONS = re.compile(r"([?&;][^=&]*(?:pass|secret|token|auth)[^=&]*=)[^&#]*", re.IGNORECASE)
_EVERY_DB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who we are to a server."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a URL says. `masked` is the URL as it may be shown."""

    kind: Kind
    masked: str
    hosts: tuple[Address, ...] = ()
    path: str = ""
    """Of a unix socket."""
    service: str = ""
    """The name that Sentinels know the server by."""
    name: str = ""
    """Of a memory server."""
    db: int = 0
    credentials: Credentials = Credentials()
    sentinel_credentials: Credentials = Credentials()
    tls: bool = False
    ssl_files: Mapping[str, str] = field(default_factory=dict[str, str])

    def ssl_context(self) -> ssl.SSLContext | None:
        """TLS with certificate and host name verified, or None for a plain connection."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ssl_files.get("ssl_ca_certs"))
            if certificate := self.ssl_files.get("ssl_certfile"):
                context.load_cert_chain(certificate, self.ssl_files.get("ssl_keyfile"))
        except OSError as error:  # ssl.SSLError is one
            msg = f"{self.masked}: cannot read the TLS files: {error}"
            raise BackendError(msg) from error
        return context


def is_same_place(url: str, other: str) -> bool:
    """Whether both lead to the same data, however they are written and whoever asks there. InvalidName."""
    return _place(read_url(url)) == _place(read_url(other))


def _place(target: Target) -> tuple[object, ...]:
    hosts = frozenset((host.lower(), port) for host, port in target.hosts)
    return target.kind, hosts, target.path, target.service, target.name, target.db, target.tls


def mask_url(url: str) -> str:
    """The URL without its password: user and password become `***`."""
    return _SECRET_OPTIONS.sub(r"\1***", _CREDENTIALS.sub(r"\1***@", url))


def read_url(url: str) -> Target:
    """What a URL means. InvalidName (a ValueError) with the form that is expected where it means nothing."""
    masked = mask_url(url)
    try:
        parts = urlsplit(url)
    except ValueError:  # its words may hold the password
        raise _bad(masked, "its host cannot be read; signs in names and passwords are percent-encoded") from None
    if parts.scheme not in _KINDS:
        raise _bad(masked, f"its scheme is none of {', '.join(f'{name}://' for name in _KINDS)}")
    if "://" not in url:
        raise _bad(masked, f"after {parts.scheme}: there are two slashes: {parts.scheme}://host:6379/0")
    if _has_bare_signs(parts):
        raise _bad(masked, "of a name or a password, the signs / ? # @ are written %2F %3F %23 %40")
    kind, tls, port = _KINDS[parts.scheme]
    options = _read_options(parts, masked, tls=tls)
    if kind == "memory":
        name = parts.netloc + parts.path.rstrip("/")
        return Target(kind=kind, masked=masked, name=check_name("memory server", name) if name else "")
    userinfo, _, hosts = parts.netloc.rpartition("@")
    service, db_text = _read_path(parts, kind, options, masked)
    target_path = unquote(parts.path) if parts.scheme == "unix" else ""
    if parts.scheme == "unix" and not target_path:
        raise _bad(masked, "a unix:// URL names a path: unix:///run/redis.sock")
    return Target(
        kind=kind,
        masked=masked,
        hosts=()
        if target_path
        else tuple(_read_host(host, port, masked) for host in (hosts or "localhost").split(",")),
        path=target_path,
        service=service,
        db=_read_db(db_text, kind, masked),
        credentials=_read_credentials(userinfo),
        sentinel_credentials=Credentials(
            username=options.get("sentinel_username"), password=options.get("sentinel_password")
        ),
        tls=tls,
        ssl_files={name: options[name] for name in _SSL_OPTIONS if name in options},
    )


def _bad(masked: str, why: str) -> InvalidName:
    return InvalidName(f"the Redis URL {masked!r} cannot be used: {why}")


def _has_bare_signs(parts: SplitResult) -> bool:
    """Whether credentials seem to end early: what is told of the rest would be a piece of a password."""
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    path = "" if parts.scheme == "unix" else parts.path
    is_cut = parts.scheme == "unix" and not parts.netloc.endswith("@") and parts.netloc != ""
    return is_cut or any("@" in part for part in (path, parts.fragment, *names))


def _read_options(parts: SplitResult, masked: str, *, tls: bool) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(options.keys() - _OPTIONS):
        raise _bad(masked, f"unknown option {', '.join(unknown)}; there are {', '.join(sorted(_OPTIONS))}")
    if options.get("ssl_cert_reqs", "required") != "required":
        why = "unverified TLS protects from nobody; name the authority instead: ?ssl_ca_certs=/path/to/ca.pem"
        raise _bad(masked, why)
    if not tls and any(name in options for name in _SSL_OPTIONS):
        raise _bad(masked, "it has TLS options but no TLS: write rediss:// instead of redis://")
    return options


def _read_path(parts: SplitResult, kind: Kind, options: Mapping[str, str], masked: str) -> tuple[str, str]:
    if parts.scheme == "unix":
        return "", options.get("db", "")
    words = [unquote(word) for word in parts.path.split("/")[1:] if word]
    service = ""
    if kind == "sentinel":
        if not words:
            raise _bad(masked, "a Sentinel URL names its service: redis+sentinel://host:26379,host:26379/mymaster/0")
        service = words.pop(0)
    if len(words) > 1:
        raise _bad(masked, "too many parts in its path")
    return service, words[0] if words else options.get("db", "")


def _read_db(text: str, kind: Kind, masked: str) -> int:
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or int(text) > _EVERY_DB:
        raise _bad(masked, f"{text!r} is not the number of a database")
    if kind == "cluster" and int(text):
        raise _bad(masked, "a cluster has database 0 only")
    return int(text)


def _read_host(text: str, default_port: int, masked: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(default_port)
    host = unquote(host.removeprefix("[").removesuffix("]")) or "localhost"
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise _bad(masked, f"{port!r} is not a port")
    return host, int(port)


def _read_credentials(userinfo: str) -> Credentials:
    if not userinfo:
        return Credentials()
    username, colon, password = userinfo.partition(":")
    return Credentials(username=unquote(username) or None, password=unquote(password) if colon else None)


def handshake(target: Target) -> list[tuple[Any, ...]]:
    """The commands that must be answered before anything else is sent."""
    commands: list[tuple[Any, ...]] = []
    who = target.credentials
    if who.password is not None:
        commands.append(("AUTH", who.username, who.password) if who.username else ("AUTH", who.password))
    if target.db:
        commands.append(("SELECT", target.db))
    return commands
