"""`redisflow dev`: a server, a worker that takes up changes, the dashboard and one log, from one terminal.

Code of users is imported in processes of its own alone, so that what it does cannot stop this one.
"""
