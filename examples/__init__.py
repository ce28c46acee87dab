"""Examples: each file runs, and a test runs it."""
