"""The pure core: from a claim to commands, with no clock, no network and no Redis.

`Execution` runs a workflow's code on a deterministic event loop, replays its record, and says what to do next.
"""
