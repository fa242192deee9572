"""The ground that every other folder may stand on: time, tasks, shutdown, health, users' modules, Postgres.

`clock` (the one clock, and back-off: waiting longer after each failure), `lifecycle` (one shutdown for all loops and on
the process's signals, cancelling tasks so that they end, and named signals for tests), `liveness` (loops that work or
wait), `health_file` (what this process says of itself) and `health_report` (reading that),
`user_modules` (importing what users wrote), `postgres` (kinds of its errors, and pools of connections).
"""
