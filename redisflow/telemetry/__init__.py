"""What workers and clients tell of what they do: to counters, traces and metrics, each in a file of its own.

`observer.py` is the protocol, and all that anything else here imports: what listens is chosen by the application.
"""
