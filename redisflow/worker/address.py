"""Where a worker listens: `127.0.0.1:9102`, `:9102`, `[::1]:9102`; without a host, this machine alone."""

from __future__ import annotations

from dataclasses import dataclass

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port; 0 lets the system choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        """As it is written."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """From how it is written; ValueError where it is none."""
        host, colon, port = text.rpartition(":")
        if not port.isascii() or not port.isdigit() or int(port) > 65_535 or (":" in host and host[:1] != "["):
            msg = f"http is HOST:PORT, such as 127.0.0.1:9102 or :9102, not {text!r}"
            raise ValueError(msg)
        return cls(host.removeprefix("[").removesuffix("]") if colon and host else LOOPBACK, int(port))

    def of_process(self, number: int) -> Address:
        """That of one of several processes, counted from 0: each has a port of its own."""
        return Address(self.host, self.port + number)
