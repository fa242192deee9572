"""Alembic's scripts. They are plain SQL, one statement at a time, because asyncpg prepares each."""
