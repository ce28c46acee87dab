"""The pictures of the dashboard in `docs/images`: `python -m tests.screenshots`."""
