"""Errors of a simulation."""

from __future__ import annotations


class Refused(Exception):
    """The service refuses an entry. The text is the reason that its dead letter would have."""


class NeverEnds(Exception):
    """Something repeats without end. The text says what."""


class NotReached(AssertionError):
    """A condition was never met. The text has the saga's timeline."""
