"""What tests and demonstrations need: a real server that starts here and is gone afterwards, and a strict eye."""

from redisflow.testing.server import EmbeddedServerError, Server, ServerOptions, start_server
from redisflow.testing.side_effects import refuse_side_effects

__all__ = ["EmbeddedServerError", "Server", "ServerOptions", "refuse_side_effects", "start_server"]
