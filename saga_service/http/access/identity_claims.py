"""What a provider's claims say of a person: the name for the history, and the role here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saga_service.settings.roles import ANYBODY, Role

Claims = Mapping[str, Any]  # whatever JSON can hold
NAMES_OTHERWISE = ("email", "sub")
NAME_CHARACTERS_MAX = 200


class IdentityClaims:
    """Reads claims by the settings: which claim has the roles, and which of its values means which role."""

    def __init__(self, role_claim: str, roles: Mapping[str, Role], name_claim: str) -> None:
        self._role_claim = role_claim
        self._roles = roles
        self._name_claim = name_claim

    def name(self, claims: Claims) -> str:
        """The person's name: the first claim that has one. Every provider gives a `sub`."""
        names = (_readable(claims.get(claim)) for claim in (self._name_claim, *NAMES_OTHERWISE))
        return next(filter(None, names), "(no name)")

    def values(self, claims: Claims) -> list[str] | None:
        """The values of the role claim; None where there is no such claim."""
        found = self._found(claims)
        if found is None:
            return None
        # Most have a list, some a single value, and some an object with a member for each role.
        return [found] if isinstance(found, str) else [each for each in found if isinstance(each, str)]

    def role(self, claims: Claims) -> Role | None:
        """The highest role that the claims give; None where they give none."""
        values = [*(self.values(claims) or ()), ANYBODY]
        roles = [self._roles[value] for value in values if value in self._roles]
        return max(roles, key=list(Role).index, default=None)

    def _found(self, claims: Claims) -> str | list[Any] | Mapping[str, Any] | None:
        """The claim of this name, which may have dots in it, or else the one at the end of this path."""
        found: Any = claims.get(self._role_claim)
        if found is None:
            found = claims
            for name in self._role_claim.split("."):
                found = found.get(name) if isinstance(found, Mapping) else None
        return found if isinstance(found, str | list | Mapping) else None


def _readable(name: object) -> str:
    """A name as a history and a log can hold it."""
    return "".join(filter(str.isprintable, name))[:NAME_CHARACTERS_MAX] if isinstance(name, str) else ""
