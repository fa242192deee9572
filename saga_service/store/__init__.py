"""Postgres: the truth. It fulfils `engine.ports.Store`, and what the loops and the command line need besides.

`postgres_store` (all that the engine and the loops ask for), `commit` (one batch as arrays), `rows` (a saga as a row
and back), `queries` (the SQL), `dead_letters` (what a person does with them), `retention` (removing what was kept long
enough), `pool` and `errors` (the link to the server, and whose fault it is when it fails), `schema`, `migrate` and
`roles` (which tables are there, how they come to be, who may do what), `migrations` (the tables, functions and views
themselves).

Tables live in the schema `saga_private` and may change with any version; the views in the schema `saga` are the
contract.
"""
