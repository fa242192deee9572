"""`tokens make`: a token that is shown once, and the line that is stored in its place."""

from __future__ import annotations

import pytest

from saga_service.settings.http_tokens import digest_of, read_tokens
from tests.support.command_line import run


def test_the_line_that_is_printed_knows_the_token_that_is_printed() -> None:
    shown = run("tokens", "make", "deploy", "--role", "operator", "--expires", "2999-01-31")
    token, line = (each.split()[-1] for each in shown.out.splitlines())
    [stored] = read_tokens(line)
    assert (stored.name, stored.role, stored.digest) == ("deploy", "operator", digest_of(token))
    assert stored.expires_at is not None
    assert stored.expires_at.isoformat() == "2999-01-31T00:00:00+00:00"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a b", "--role", "viewer"], "NAME must be letters, digits and . @ + - _, 100 at most, but is 'a b'"),
        (["ci", "--role", "boss"], "'boss' is not one of"),
        (["ci", "--role", "viewer", "--expires", "soon"], "--expires: the expiry must be a date such as 2027-01-31"),
        (["ci", "--role", "viewer", "--expires", "2020-01-31"], "--expires: 2020-01-31 is over"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], said: str) -> None:
    shown = run("tokens", "make", *arguments)
    assert shown.exit_code == 2
    assert said in shown.err
