"""Names and roles out of a provider's claims, whatever form the provider gives them."""

from __future__ import annotations

import pytest

from saga_service.http.access.identity_claims import IdentityClaims
from saga_service.settings.roles import Role, read_role_mapping

ROLES = {"sre": Role.OPERATOR, "staff": Role.VIEWER, "boss": Role.ADMIN}


@pytest.mark.parametrize(
    ("claim", "claims", "role"),
    [
        ("groups", {"groups": ["staff", "sre"]}, Role.OPERATOR),
        ("groups", {"groups": "boss"}, Role.ADMIN),
        ("groups", {"groups": {"sre": {"org": "1"}}}, Role.OPERATOR),
        ("realm_access.roles", {"realm_access": {"roles": ["sre"]}}, Role.OPERATOR),
        ("https://example.com/roles", {"https://example.com/roles": ["sre"]}, Role.OPERATOR),
        ("groups", {"groups": ["guests", 5, None]}, None),
        ("groups", {"groups": 5}, None),
        ("groups", {}, None),
        ("realm_access.roles", {"realm_access": "sre"}, None),
    ],
    ids=["list", "text", "object", "path", "name with dots", "others", "number", "none", "no path"],
)
def test_the_highest_role_counts(claim: str, claims: dict[str, object], role: Role | None) -> None:
    assert IdentityClaims(claim, ROLES, "name").role({"sub": "1", **claims}) is role


def test_whoever_has_logged_in_may_have_a_role() -> None:
    reads = IdentityClaims("groups", ROLES | {"*": Role.VIEWER}, "name")
    assert [reads.role({}), reads.role({"groups": ["sre"]})] == [Role.VIEWER, Role.OPERATOR]


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"name": "Anna", "email": "a@b"}, "Anna"),
        ({"name": "", "email": "a@b"}, "a@b"),
        ({"name": ["Anna"]}, "1"),
        ({"name": "An\x00na\n\x1b[1m"}, "Anna[1m"),
        ({"name": "a" * 500}, "a" * 200),
    ],
    ids=["claim", "empty", "no text", "control characters", "long"],
)
def test_a_name_is_the_first_that_is_there_as_a_history_can_hold_it(claims: dict[str, object], name: str) -> None:
    assert IdentityClaims("groups", {}, "name").name({"sub": "1", **claims}) == name


def test_a_mapping_says_which_part_is_wrong() -> None:
    assert read_role_mapping(["cn=sre=operator"]) == {"cn=sre": Role.OPERATOR}
    for wrong, said in (("sre", "'sre' must be VALUE=ROLE"), ("sre=boss", "'boss' is no role")):
        with pytest.raises(ValueError, match=said):
            read_role_mapping([wrong])
