"""What tests and demonstrations need: a real server that starts on this machine, and is gone afterwards."""

from redisflow.testing.server import EmbeddedServerError, Server, ServerOptions, start_server

__all__ = ["EmbeddedServerError", "Server", "ServerOptions", "start_server"]
