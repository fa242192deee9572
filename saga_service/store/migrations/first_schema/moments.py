"""Moments are stored as milliseconds and shown as `timestamptz`."""


def moment(milliseconds: str) -> str:
    """The SQL that shows them. The index on it and the views must say it in the same words."""
    return f"to_timestamp({milliseconds}::double precision / 1000)"
