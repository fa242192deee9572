"""The ground that every other folder may stand on: time, tasks, signals, users' modules, Postgres.

`clock` (the one clock), `backoff` (waiting longer after each failure), `tasks` (cancelling tasks so that they end),
`signals` (shutdown on the process's signals), `user_modules` (importing what users wrote), `postgres` (classes of its
errors, and pools of connections).
"""
