"""The Redis backend: scripts, the connections that carry them, and the contract on top of both.

Nothing here knows workflow code; nothing outside imports `redis`.
"""
