"""What goes wrong in a simulation, as a test is told of it."""

from __future__ import annotations


class Refused(Exception):
    """The service would not have done what was asked of it; the text is the reason that it gives."""


class NeverEnds(Exception):
    """Something goes on and on; the text says what."""


class NotReached(AssertionError):
    """What was waited for did not come about; the text has the saga's timeline."""
