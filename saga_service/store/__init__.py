"""Postgres, where every saga lives: `postgres_store` fulfils the ports of the engine and of the loops.

- a batch: `columns` (what is written, declared once), `rows` (a saga as a row and back), `commit` (the arrays)
- the database: `schema` (tables, functions, views, migrations), `queries` (the statements)
- the link: `pool` (connections, and whose fault it is when something fails)
- beside the hot path: `retention`, `encryption` (key rotation too)
- people's commands: `requests`, `dead_letters`

Tables are in the schema `saga_private` and may change with any version. The views and functions in the schema `saga`
are the contract.
"""
