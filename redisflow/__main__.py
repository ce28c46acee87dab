"""`python -m redisflow` is the command line."""

import sys

from redisflow.cli.main import main

sys.exit(main())
