"""Every name that `redisflow.testing` offers, and where it is defined."""

from redisflow.testing.clock import NotAtRest, VirtualClock, virtual_clock
from redisflow.testing.cluster import ClusterOptions, ServerCluster, start_cluster
from redisflow.testing.crashes import CrashPoint, CrashReport, EndsDiffer, crash_matrix
from redisflow.testing.inline import InlineEvent, InlineRun, run_inline
from redisflow.testing.inline_run import WouldWait
from redisflow.testing.namespaces import fresh_namespace
from redisflow.testing.replays import DoesNotReplay, assert_replays
from redisflow.testing.sentinels import SentinelGroup, SentinelOptions, start_sentinels
from redisflow.testing.server import EmbeddedServerError, Server, ServerOptions, start_server
from redisflow.testing.side_effects import refuse_side_effects

__all__ = [
    "ClusterOptions",
    "CrashPoint",
    "CrashReport",
    "DoesNotReplay",
    "EmbeddedServerError",
    "EndsDiffer",
    "InlineEvent",
    "InlineRun",
    "NotAtRest",
    "SentinelGroup",
    "SentinelOptions",
    "Server",
    "ServerCluster",
    "ServerOptions",
    "VirtualClock",
    "WouldWait",
    "assert_replays",
    "crash_matrix",
    "fresh_namespace",
    "refuse_side_effects",
    "run_inline",
    "start_cluster",
    "start_sentinels",
    "start_server",
    "virtual_clock",
]
