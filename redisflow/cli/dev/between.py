"""What `redisflow dev` and the process of its worker know of each other. It imports nothing: both begin with it."""

MARK = "\x1e"
"""Before each record of the worker's log: as in RFC 7464, where text of users would hardly begin with it."""
GRACE_S = 2
"""How long runs may go on when the worker is replaced; what is left is handed back."""
STOP_WITHIN_S = GRACE_S + 10
"""Then it is killed: it has handed its runs back, and closed its resources."""
