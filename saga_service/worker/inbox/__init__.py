"""The inbox: effects that happen exactly once, by a table in the handlers' own database.

`deduplication` (the theory and its tables: what is on record, what follows from it, and the replies in a handler's
place), `exactly_once` (calling handlers by those decisions, and the rows), `connection` (errors, transactions, and
how long a command waits for the database), `inbox.sql` (the table), `postgres` (creating and opening it).

Nothing is imported here: whoever needs the decisions alone, as the test kit does, needs no client of a server.
"""
