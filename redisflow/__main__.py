"""`python -m redisflow` is the command line."""

import sys

from redisflow.cli.main import run

sys.exit(run())
