"""Chance that is not: numbers that are spread like random ones and follow from what they are drawn for, so that every
replica draws the same and a repeat draws it again."""

from __future__ import annotations

from hashlib import blake2b

_STEPS = 1 << 53
"""As many as a float between 0 and 1 can tell apart."""


def fraction(drawn_for: str) -> float:
    """A number from 0 up to 1, 1 excluded."""
    digest = blake2b(drawn_for.encode("utf-8"), digest_size=8, person=b"saga_jitter").digest()
    return (int.from_bytes(digest, "big") % _STEPS) / _STEPS
