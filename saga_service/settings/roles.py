"""Roles: what a caller of the HTTP API may do. Each may do what the ones before it may."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Role(StrEnum):
    """A caller's role."""

    VIEWER = "viewer"
    """Reads, and changes nothing."""
    OPERATOR = "operator"
    """Starts, signals and operates sagas, and puts dead letters back."""
    ADMIN = "admin"
    """Also loses something for good: drops dead letters."""

    def covers(self, needed: Role) -> bool:
        """True where this role may do what `needed` may."""
        return _ORDER.index(self) >= _ORDER.index(needed)


_ORDER = tuple(Role)


def role_named(text: str) -> Role:
    """The role of this name. Raises ValueError, which says what there is."""
    try:
        return Role(text)
    except ValueError:
        raise ValueError(f"'{text}' is no role; the roles are {', '.join(Role)}") from None


ANYBODY = "*"
"""The value of a claim that stands for whoever has logged in."""


def read_role_mapping(parts: Iterable[str]) -> dict[str, Role]:
    """The role of each value of a claim: `sre=operator`. Raises ValueError, which says which part is wrong."""
    mapping: dict[str, Role] = {}
    for part in parts:
        value, _, role = part.rpartition("=")
        if not value:
            raise ValueError(f"'{part}' must be VALUE=ROLE, for example sre=operator")
        mapping[value] = role_named(role)
    return mapping
