"""Values as options give them: ages, data, and who asks.

Data is `--data` with a JSON object, or `--field NAME=VALUE` for each field of it.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from getpass import getuser

from saga_service.admin.failure_kinds import Failure, FailureKind
from saga_service.admin.text import quoted
from saga_service.core.state import JsonObject
from saga_service.wire.entries import Malformed
from saga_service.wire.json import read_object


def given_data(data: str | None, fields: list[str] | None) -> JsonObject | None:
    """The object of `--data`, read from standard input where it is `-`. None where it is not given.

    Raises Failure where it is no JSON object, or fields are given as well.
    """
    if data is not None and fields:
        raise Failure("give the input by --data or by --field, not by both", kind=FailureKind.INVALID)
    if data is None:
        return None
    return read_json_object(sys.stdin.buffer.read() if data == "-" else data.encode(), "--data")


def read_json_object(text: bytes, option: str) -> JsonObject:
    """The JSON object of an option's text. Raises Failure where it is none."""
    try:
        return read_object(text, option)
    except Malformed as error:
        raise Failure(str(error).replace(f"field '{option}'", option), kind=FailureKind.INVALID) from None


def given_fields(fields: list[str] | None) -> dict[str, str]:
    """The texts of all `--field` options, by name. Raises Failure where one is not NAME=VALUE."""
    return dict(_pair(given) for given in fields or [])


def _pair(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not (name and equals):
        raise Failure(f"--field must be NAME=VALUE, but is {quoted(given)}", kind=FailureKind.INVALID)
    return name, value


def age(given: str | None, option: str) -> timedelta | None:
    """The time span of an option such as `2h`. Raises Failure where it is none."""
    if given is None:
        return None
    from saga_service.definitions.keywords import duration_ms  # a sixth of a command's time, and most name no age

    try:
        return timedelta(milliseconds=duration_ms(given))
    except ValueError as error:
        raise Failure(f"{option} {error}", kind=FailureKind.INVALID) from None


def own_name() -> str:
    """The person's name on this machine. Raises Failure where it is not known."""
    try:
        return getuser()
    except (KeyError, OSError):
        raise Failure(
            "your name on this machine is not known", "give it: --actor NAME", kind=FailureKind.INVALID
        ) from None
