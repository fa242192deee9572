"""`tokens`: make an access token for the HTTP API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.settings.http_tokens import (
    NAME_CHARACTERS_MAX,
    StoredToken,
    digest_of,
    fresh_token,
    is_token_name,
    read_expiry,
    write_token,
)
from saga_service.settings.roles import Role

commands = typer.Typer(no_args_is_help=True)


@commands.callback()
def _tokens() -> None:
    """Access tokens of the HTTP API."""


@commands.command("make", epilog="Example: saga-service tokens make deploy --role operator --expires 2027-01-31")
def make_command(
    name: Annotated[str, typer.Argument(help="Who uses it: the actor in the history of what is asked for with it.")],
    role: Annotated[Role, typer.Option(help="viewer reads, operator also steers, admin also drops.")],
    expires: Annotated[
        str | None, typer.Option(help="When it ends, in UTC: 2027-01-31. Without it: never.", metavar="DATE")
    ] = None,
) -> None:
    """Print a fresh token, and the line with its hash for SAGA_HTTP_TOKENS or a file of tokens.

    The token itself is stored nowhere. A name may have several tokens, so that one is replaced without a gap.
    """
    if not is_token_name(name):
        raise Failure(
            f"NAME must be letters, digits and . @ + - _, {NAME_CHARACTERS_MAX} at most, but is '{name}'",
            kind=FailureKind.INVALID,
        )
    token = fresh_token()
    typer.echo(f"token, shown once:  {token}")
    typer.echo(f"line to store:      {write_token(StoredToken(name, role, digest_of(token), _expiry(expires)))}")


def _expiry(text: str | None) -> datetime | None:
    """The moment of --expires. Raises Failure where it is none, or is over."""
    if text is None:
        return None
    try:
        moment = read_expiry(text)
    except ValueError as error:
        raise Failure(f"--expires: {error}", kind=FailureKind.INVALID) from None
    if moment <= datetime.now(UTC):
        raise Failure(f"--expires: {text} is over", kind=FailureKind.INVALID)
    return moment
