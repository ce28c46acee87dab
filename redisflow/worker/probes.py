"""A worker's answers to orchestrators, over HTTP: is it alive, is it ready, and its metrics.

The hard thing is to answer when the worker cannot: it is asked whether its event loop still turns. So a thread of its
own answers, which touches nothing that the loop holds.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET6
from socketserver import TCPServer
from typing import Any

from redisflow.contract.observer import Observer, Vitals
from redisflow.errors import RedisflowError
from redisflow.worker.address import Address

ANSWER_S = 5.0
"""A client that says nothing for so long is let go."""
NO_METRICS = (
    "this worker has no metrics: pip install 'redisflow[prometheus]'. Where its flow was connected before the worker"
    " was made, say RedisFlow(telemetry=[Prometheus()]) as well\n"
)

_log = logging.getLogger("redisflow.worker")


class ProbeServer:
    """Answers `/healthz`, `/readyz` and `/metrics` until it is closed."""

    def __init__(
        self,
        address: Address,
        lease_s: float,
        vitals: Callable[[], Vitals],
        is_ready: Callable[[], bool],
        observer: Observer | None,
    ) -> None:
        """It listens from now on. RedisflowError where it cannot."""
        self._lease_s = lease_s
        self._vitals = vitals
        self._is_ready = is_ready
        self._observer = observer
        try:
            self._server = _Server(address, self._answer)
        except OSError as error:
            msg = f"the worker cannot listen on {address} for its probes: {error}"
            raise RedisflowError(msg) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=[0.1], name="redisflow-probes", daemon=True
        )
        self._thread.start()
        _log.info("probes and metrics of this worker: %s", self.url)

    @property
    def url(self) -> str:
        """Where it listens; with the port that it was given, where none was named."""
        host, port = self._server.server_address[:2]
        shown = f"[{host!s}]" if self._server.address_family == AF_INET6 else host
        return f"http://{shown!s}:{port}"

    def close(self) -> None:
        """Listen no longer."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=ANSWER_S)

    def _answer(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        match path.partition("?")[0]:
            case "/healthz":
                problems = self._what_stands_still()
            case "/readyz":
                problems = [*self._what_stands_still(), *self._what_is_away()]
                if not self._is_ready():
                    problems.append("it claims no runs: it starts, or stops")
            case "/metrics":
                return self._metrics()
            case _:
                return HTTPStatus.NOT_FOUND, "text/plain", b"there are /healthz, /readyz and /metrics\n"
        status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        said = {"status": "unavailable" if problems else "ok", "problems": problems}
        return status, "application/json", json.dumps(said).encode() + b"\n"

    def _what_stands_still(self) -> list[str]:
        """What only a new process puts right."""
        lag_s = self._vitals().loop_lag_s
        return [f"the event loop has stood still for {lag_s:.0f} s: a step blocks it"] if lag_s > self._lease_s else []

    def _what_is_away(self) -> list[str]:
        """A server that is away comes back without anybody's help: who restarts its workers makes an outage longer."""
        age_s = self._vitals().heartbeat_age_s
        return [f"the leases were renewed {age_s:.0f} s ago: redis does not answer"] if age_s > self._lease_s else []

    def _metrics(self) -> tuple[HTTPStatus, str, bytes]:
        text = None if self._observer is None else self._observer.exposition()
        if text is None:
            return HTTPStatus.NOT_IMPLEMENTED, "text/plain", NO_METRICS.encode()
        return HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", text


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: Address, answer: Callable[[str], tuple[HTTPStatus, str, bytes]]) -> None:
        self.answer = answer
        if ":" in address.host:
            self.address_family = AF_INET6
        super().__init__((address.host, address.port), _Handler)

    def server_bind(self) -> None:
        """Without asking what this host is called: where nobody answers that, the worker would stand still for it."""
        TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  # as the library calls it
        """A client that went away is no news."""
        _log.debug("a request for a probe failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    timeout = ANSWER_S

    def do_GET(self) -> None:
        """Answer."""
        assert isinstance(self.server, _Server)  # noqa: S101  # which makes these
        status, kind, body = self.server.answer(self.path)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as the library names it
        """Probes come every few seconds: they are no news."""
