"""The client: starts runs, waits for them, looks at them, cancels them. It never imports the worker."""
