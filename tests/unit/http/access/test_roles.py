"""Every route names the role that it needs, and a role may do what those below it may."""

from __future__ import annotations

import pytest
from fastapi.routing import APIRoute

from saga_service.http.access.callers import NeedsRole
from saga_service.http.application import ROUTERS
from saga_service.settings.roles import Role

ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]


@pytest.mark.parametrize("route", ROUTES, ids=[f"{min(each.methods or ())} {each.path}" for each in ROUTES])
def test_a_route_names_one_role_and_one_that_changes_something_is_not_for_viewers(route: APIRoute) -> None:
    [role] = [each.call.role for each in route.dependant.dependencies if isinstance(each.call, NeedsRole)]
    assert (role is Role.VIEWER) == (route.methods in ({"GET"}, {"HEAD"}))


def test_a_role_may_do_what_those_before_it_may() -> None:
    assert [[role.covers(needed) for needed in Role] for role in Role] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]
