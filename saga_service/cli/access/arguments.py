"""Data on the command line: `--data` with a JSON object, or `--field NAME=VALUE` for each field of it."""

from __future__ import annotations

import sys

import orjson

from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.core.state import JsonObject
from saga_service.wire.entries import Malformed
from saga_service.wire.json import read_object


def given_data(data: str | None, fields: list[str] | None) -> JsonObject | None:
    """The object of `--data`, read from standard input where it is `-`. None where it is not given.

    Raises CommandFailed where it is no JSON object, or fields are given as well.
    """
    if data is not None and fields:
        raise CommandFailed("give the input by --data or by --field, not by both", code=ExitCode.USAGE)
    if data is None:
        return None
    return read_json_object(sys.stdin.read() if data == "-" else data, "--data")


def read_json_object(text: str, option: str) -> JsonObject:
    """The JSON object of an option's text. Raises CommandFailed where it is none."""
    try:
        return read_object(text.encode("utf-8", "surrogateescape"), option)
    except Malformed as error:
        raise CommandFailed(str(error).replace(f"field '{option}'", option), code=ExitCode.USAGE) from None


def given_fields(fields: list[str] | None) -> dict[str, str]:
    """The texts of all `--field` options, by name. Raises CommandFailed where one is not NAME=VALUE."""
    return dict(_pair(given) for given in fields or [])


def read_value(text: str) -> object:
    """The value of a field of which no schema is known: JSON if it is valid JSON, else the text."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def _pair(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not (name and equals):
        raise CommandFailed(f"--field must be NAME=VALUE, but is '{given}'", code=ExitCode.USAGE)
    return name, value
