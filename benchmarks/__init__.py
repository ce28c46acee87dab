"""Benchmarks: what redisflow costs, beside the floor of plain commands measured in the same run. `make bench`."""
