"""What must be true of the keys of a namespace at every instant: a pure checker, and the report of an audit."""

from redisflow.structure.breach import EXPLANATIONS, Breach, Remedy, Rule
from redisflow.structure.check import check, check_keys, check_record, check_runs
from redisflow.structure.keys import check_posts
from redisflow.structure.lines import check_permits, check_rates
from redisflow.structure.report import KEPT, AuditReport, Finding
from redisflow.structure.snapshot import Post, Snapshot, StoredRun, Stream, snapshot_of

__all__ = [
    "EXPLANATIONS",
    "KEPT",
    "AuditReport",
    "Breach",
    "Finding",
    "Post",
    "Remedy",
    "Rule",
    "Snapshot",
    "StoredRun",
    "Stream",
    "check",
    "check_keys",
    "check_permits",
    "check_posts",
    "check_rates",
    "check_record",
    "check_runs",
    "snapshot_of",
]
