"""The findings of the doctor's checks."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

import asyncpg

from saga_service.admin.failure_kinds import Failure
from saga_service.wire.transport import RightMissing


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. `advice` says what to do about a problem, or what could be better."""

    check: str
    verdict: Literal["ok", "problem"]
    text: str
    advice: str | None = None


def ok(check: str, text: str, advice: str | None = None) -> Finding:
    return Finding(check, "ok", text, advice)


def problem(check: str, text: str, advice: str | None) -> Finding:
    return Finding(check, "problem", text, advice)


def failed(check: str, failure: Failure) -> Finding:
    """The finding of a check that could not look at anything."""
    return problem(check, failure.message, failure.advice)


async def as_far_as_allowed(check: str, findings: AsyncIterator[Finding]) -> AsyncIterator[Finding]:
    """The findings, and in place of those that a missing right keeps back one that names the right."""
    try:
        async for finding in findings:
            yield finding
    except RightMissing as error:
        yield right_missing(check, error)
    except asyncpg.InsufficientPrivilegeError as error:
        yield role_lacks(check, error)


def role_lacks(check: str, error: asyncpg.InsufficientPrivilegeError) -> Finding:
    """The finding of a check for which the role in Postgres has not the right."""
    return problem(
        check,
        f"the role in SAGA_POSTGRES_DSN may not look at this: {error}",
        "grant saga_reader to it; for the schema and the keys use the service's own role",
    )


_COMMAND = re.compile(r"run the '([\w|]+)' command")


def right_missing(check: str, error: RightMissing) -> Finding:
    """The finding of a check for which the user of Redis has not the right."""
    text = f"the user in SAGA_REDIS_URL may not look at this: {error}"
    if command := _COMMAND.search(str(error)):
        return problem(check, text, f"grant it: redis-cli ACL SETUSER <user> +{command[1]}")
    return problem(check, text, "grant it the keys of the stream prefix: redis-cli ACL SETUSER <user> ~<prefix>*")
