"""Access tokens as they are stored: a hash with a name and a role, and nothing of the token itself."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from saga_service.settings.http_tokens import StoredToken, digest_of, fresh_token, read_tokens, write_token
from saga_service.settings.roles import Role

HASH = "ab" * 32
OTHER = "cd" * 32


def test_a_token_is_stored_by_its_hash_and_read_again_as_it_was() -> None:
    token = fresh_token()
    for expires_at in (None, datetime(2027, 1, 31, tzinfo=UTC)):
        stored = StoredToken("deploy", Role.OPERATOR, digest_of(token), expires_at)
        assert token not in write_token(stored)
        assert read_tokens(write_token(stored)) == [stored]


def test_no_two_tokens_are_alike_and_each_is_long_enough_not_to_be_guessed() -> None:
    tokens = {fresh_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(each) for each in tokens} == {len("saga_") + 43}


def test_a_list_has_commas_or_lines_and_comments_and_a_name_may_have_several_tokens() -> None:
    text = f"# rotated in March\nci:viewer:{HASH}, ci:viewer:{OTHER}:2027-01-31  # the new one\n\n"
    assert [(each.name, each.role, each.expires_at) for each in read_tokens(text)] == [
        ("ci", Role.VIEWER, None),
        ("ci", Role.VIEWER, datetime(2027, 1, 31, tzinfo=UTC)),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ci", "token 1: must be NAME:ROLE:HASH"),
        (f"ci:viewer:{HASH},ci:boss:{OTHER}", "token 2: 'boss' is no role; the roles are viewer, operator, admin"),
        (f"a b:viewer:{HASH}", "token 1: the name must be letters"),
        (f"ci:viewer:{HASH[:-1]}", "token 1: the hash of 'ci' must be 64 hexadecimal digits"),
        (f"\n\nci:viewer:{HASH}:soon", "line 3: the expiry must be a date such as 2027-01-31, but is 'soon'"),
        (f"ci:viewer:{HASH}\nother:admin:{HASH}", "line 2: 'other' has the hash of 'ci'"),
        ("ci:viewer:saga_secret", "token 1: a token itself stands in place of its hash"),
        ("saga_secret", "token 1: a token itself stands in place of its hash"),
    ],
)
def test_a_wrong_list_says_where_and_holds_no_secret(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"token|line") as refused:
        read_tokens(text)
    assert said in str(refused.value)
    assert HASH not in str(refused.value)
    assert "saga_secret" not in str(refused.value)
