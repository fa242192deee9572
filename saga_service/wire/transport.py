"""Errors of the transport, in the words of those who use it. `streams` translates Redis' own errors into them once.

The environment's fault is worth another try (`TransportUnavailable`), a loss has to be made good (`StreamLost`), and
what Redis refuses for a reason that lasts needs a person (`StreamRefused`).
"""

from __future__ import annotations


class TransportError(Exception):
    """Redis did not do what it was asked to do; the text has its reason."""


class TransportUnavailable(TransportError):
    """Redis cannot be reached, or cannot serve just now. The same call may succeed later."""


class AccessDenied(TransportUnavailable):
    """Redis does not accept our user or password. A running service waits, because passwords get changed; at a start
    the settings are wrong."""


class StreamLost(TransportError):
    """The stream or our group on it has vanished. The group has to be made anew, and what was in flight sent again."""


class StreamRefused(TransportError):
    """Redis refuses until a person has mended something: another kind of key has the stream's name, say, or we may
    not read it. Other streams are not affected."""
