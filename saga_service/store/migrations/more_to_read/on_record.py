"""What a view tells of a saga's steps out of the definition that is on record."""

DEFINITION = """
left join saga_private.definitions on definitions.saga = sagas.saga and definitions.version = sagas.version
"""
"""At most one row for each saga. Postgres leaves the join out where no column of it is read."""


def stated(field: str, position: str, *, in_first_format: str | None = None) -> str:
    """What the definition says of the step at this place, from 1: a saga has its steps in the definition's order.

    Null where the version is not on record. `in_first_format` is what all steps were when documents did not say it.
    """
    said = f"definitions.document -> 'steps' -> ({position} - 1)::integer ->> '{field}'"
    if in_first_format is None:
        return said
    return f"coalesce({said}, case when definitions.saga is not null then '{in_first_format}' end)"
