"""The engine takes batches of entries to their commits: decode, load, fold, commit.

It decides nothing about sagas, which is the core's, and knows Postgres and Redis only by the protocols of `ports`.
"""
