"""The flow for callers without an event loop: scripts, Django, Flask, sync step bodies."""
