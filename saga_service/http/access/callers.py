"""The caller of a request, and the role that a route asks for.

Every route names its role: a router for all of its routes, or a route for itself. A test holds that none is without.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from saga_service.http.access.roles import Role

ANYBODY_HERE = "http"
"""The name of whoever asks while there are no rights: all who reach this machine's loopback."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. The name stands in the history of what is asked for."""

    name: str
    role: Role


def caller_of(request: Request) -> Caller:
    """The caller of this request."""
    return Caller(ANYBODY_HERE, Role.ADMIN)


class NeedsRole:
    """A dependency of a route: its caller, who has at least this role."""

    def __init__(self, role: Role) -> None:
        self.role = role

    def __call__(self, request: Request) -> Caller:
        return caller_of(request)


Viewer = Annotated[Caller, Depends(NeedsRole(Role.VIEWER))]
Operator = Annotated[Caller, Depends(NeedsRole(Role.OPERATOR))]
Admin = Annotated[Caller, Depends(NeedsRole(Role.ADMIN))]
