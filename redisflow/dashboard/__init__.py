"""The dashboard: an ASGI application of pages, live updates and a JSON API over one namespace."""
