"""The errors by which joserfc says that a text is no token that it can read."""

from __future__ import annotations

from joserfc.errors import JoseError

NOT_READABLE = (JoseError, ValueError, TypeError, RecursionError)
"""A header may have a value of any type in any place, and joserfc looks at some before it checks them: `"crit": 1` is a
TypeError. Whoever sends one is nobody, and must not meet a bug with its long lines in the log."""
