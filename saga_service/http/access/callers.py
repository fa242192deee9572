"""The caller of a request, and the role that a route asks for.

Every route names its role, and a test holds that none is without. The role is looked at before the body is read:
whoever may not ask has nothing parsed, and learns of nothing whether it exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Protocol

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant

from saga_service.admin.payloads import EVERYTHING, PayloadView
from saga_service.http.problem_details import Problem, ProblemRaised
from saga_service.settings.roles import Role

CHALLENGE = 'Bearer realm="saga_service"'


class KnownBy(StrEnum):
    """How a caller is known."""

    LOOPBACK = "loopback"
    """There are no rights: whoever reaches this machine's loopback may do anything."""
    TOKEN = "token"
    SESSION = "session"
    """A person who has logged in."""
    ACCESS_TOKEN = "access token"
    """A program with an access token of the identity provider."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. The name stands in the history of what is asked for."""

    name: str
    role: Role
    known_by: KnownBy = KnownBy.LOOPBACK
    until: datetime | None = None
    """When the token or the session ends; None where it does not."""
    payloads: PayloadView = EVERYTHING
    """What this caller sees of payloads. Whatever shows any goes by `payloads.shown`."""


class CallersOfApplication(Protocol):
    """What knows the callers of an application, as its `state.callers`."""

    async def caller(self, request: Request) -> Caller:
        """The caller of a request. Raises ProblemRaised where nobody is known."""


async def caller_of(request: Request) -> Caller:
    """The caller of this request, whatever the role. Raises ProblemRaised (401) where nobody is known."""
    known: Caller | None = getattr(request.state, "caller", None)
    if known is None:
        callers: CallersOfApplication = request.app.state.callers
        known = request.state.caller = await callers.caller(request)
    return known


class NeedsRole:
    """A dependency of a route: its caller, who has at least this role."""

    def __init__(self, role: Role) -> None:
        self.role = role

    async def __call__(self, request: Request) -> Caller:
        """The caller. Raises ProblemRaised: 401 where nobody is known, 403 where the role is too low."""
        caller = await caller_of(request)
        if not caller.role.covers(self.role):
            raise role_too_low(caller, self.role)
        return caller


def need_of(dependant: Dependant) -> NeedsRole:
    """The role that a route asks for."""
    [need] = [each.call for each in dependant.dependencies if isinstance(each.call, NeedsRole)]
    return need


Viewer = Annotated[Caller, Depends(NeedsRole(Role.VIEWER))]
Operator = Annotated[Caller, Depends(NeedsRole(Role.OPERATOR))]
Admin = Annotated[Caller, Depends(NeedsRole(Role.ADMIN))]


def refuse_search_of_payloads(caller: Caller, text: str | None, what: str) -> None:
    """Raises ProblemRaised where a caller who does not see all of payloads searches them: what is found is known."""
    if text is None:
        return
    if caller.payloads.needs is not None:
        raise role_too_low(caller, caller.payloads.needs, what)
    if caller.payloads.redacted:
        raise _forbidden(
            caller,
            f"{what} would find what is redacted for {caller.name}, who has {caller.role}",
            "search without it; SAGA_HTTP_REDACTED_FIELDS_ROLE is the role that sees such fields",
        )


def nobody_known(detail: str, advice: str, *, error: str | None = None) -> ProblemRaised:
    """The answer to a request whose caller is not known. `error` is the code of RFC 6750 where a token came with it."""
    challenge = CHALLENGE if error is None else f'{CHALLENGE}, error="{error}"'
    problem = Problem(
        type="urn:saga-service:problem:unauthorized",
        title="Nobody is known",
        status=HTTPStatus.UNAUTHORIZED,
        detail=detail,
        advice=advice,
    )
    return ProblemRaised(problem, {"WWW-Authenticate": challenge})


def role_too_low(caller: Caller, needed: Role, what: str = "this") -> ProblemRaised:
    """The answer to a caller who is known, and whose role is too low."""
    return _forbidden(
        caller,
        f"{what} needs the role {needed}, and {caller.name} has {caller.role}",
        f"ask somebody who is {needed}, or whoever gives out roles",
    )


def _forbidden(caller: Caller, detail: str, advice: str) -> ProblemRaised:
    kind, title = "urn:saga-service:problem:forbidden", "The role is too low"
    problem = Problem(type=kind, title=title, status=HTTPStatus.FORBIDDEN, detail=detail, advice=advice)
    return ProblemRaised(problem, caller=caller.name)
