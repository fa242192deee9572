"""Reports of processes: what a service or a run of workers says of itself, so that others see that it is alive.

Workers have no way to Postgres, so they leave their reports in Redis, as one JSON object each with an expiry. A worker
in any language may do so; only `kind`, `name` and `services` are needed there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import orjson

from saga_service.core.state import JsonObject

ProcessKind = Literal["service", "worker"]
REPORT_TEXT_CHARACTERS_MAX = 500
REPORT_BYTES_MAX = 1_048_576
NUMBER_MAX = 2**53 - 1
"""Every language's numbers reach this far, and as a moment Postgres can show it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReport:
    """One process at one moment. What may change from report to report comes last."""

    kind: ProcessKind
    name: str
    """The name in consumer groups: no two processes have the same, and none has that of an earlier one."""
    host: str = ""
    pid: int | None = None
    version: str = ""
    """The version of saga_service, or of whatever library the worker is made with."""
    started_at_ms: int | None = None
    reads: list[JsonObject] = field(default_factory=list)
    """The streams that are read, each as {"stream": …, "group": …}."""
    services: list[JsonObject] = field(default_factory=list)
    """A worker's handlers, as `WorkerDescription.to_json` has them, one object for each service."""
    definitions: dict[str, str] = field(default_factory=dict)
    """A service's definitions: the version of each saga."""
    slots: int | None = None
    """How many commands, or batches, can be under way at once."""
    in_flight: int | None = None
    """How many are."""
    handled_per_s: float | None = None
    """Commands, or entries, that were handled each second since the report before."""
    clock_ahead_ms: int | None = None
    """How far this process's clock is ahead of Redis'."""
    has_stopped: bool = False
    """True in the last report of a process that ends in good order."""


class UnreadableReport(ValueError):
    """A report has not the form of one; the text says what is wrong with it."""


def write_process_report(report: ProcessReport) -> bytes:
    return orjson.dumps(asdict(report))


def read_process_report(written: bytes) -> ProcessReport:
    """Read a report of this or another release. Raises UnreadableReport."""
    if len(written) > REPORT_BYTES_MAX:
        raise UnreadableReport(f"a report has {REPORT_BYTES_MAX} bytes at most")
    if rb"\u0000" in written:
        raise UnreadableReport("a report has no NUL in it, which Postgres does not hold")
    try:
        given = orjson.loads(written)
        if not isinstance(given, dict):
            raise UnreadableReport("a report is a JSON object")
        return ProcessReport(
            kind=_kind(given),
            name=_text(given, "name"),
            host=_text(given, "host", ""),
            pid=_number(given, "pid"),
            version=_text(given, "version", ""),
            started_at_ms=_number(given, "started_at_ms", least=0),
            reads=_objects(given, "reads"),
            services=_objects(given, "services"),
            definitions=_versions(given),
            slots=_number(given, "slots"),
            in_flight=_number(given, "in_flight"),
            handled_per_s=_rate(given),
            clock_ahead_ms=_number(given, "clock_ahead_ms"),
            has_stopped=given.get("has_stopped") is True,
        )
    except orjson.JSONDecodeError as error:
        raise UnreadableReport(f"a report is JSON: {error}") from None


def _kind(given: Mapping[str, Any]) -> ProcessKind:
    for kind in get_args(ProcessKind):
        if given.get("kind") == kind:
            return kind  # type: ignore[no-any-return]  # one of the two words
    raise UnreadableReport("its 'kind' is 'service' or 'worker'")


def _text(given: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = given.get(name, default)
    if not isinstance(value, str) or len(value) > REPORT_TEXT_CHARACTERS_MAX:
        raise UnreadableReport(f"its '{name}' is a text of {REPORT_TEXT_CHARACTERS_MAX} characters at most")
    return value


def _number(given: Mapping[str, Any], name: str, *, least: int = -NUMBER_MAX) -> int | None:
    value = given.get(name)
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and least <= value <= NUMBER_MAX):
        return value
    raise UnreadableReport(f"its '{name}' is a whole number from {least} to {NUMBER_MAX}")


def _rate(given: Mapping[str, Any]) -> float | None:
    value = given.get("handled_per_s")
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise UnreadableReport("its 'handled_per_s' is a number")


def _objects(given: Mapping[str, Any], name: str) -> list[JsonObject]:
    value = given.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise UnreadableReport(f"its '{name}' is a list of objects")
    return value


def _versions(given: Mapping[str, Any]) -> dict[str, str]:
    value = given.get("definitions", {})
    if not isinstance(value, dict) or not all(isinstance(version, str) for version in value.values()):
        raise UnreadableReport("its 'definitions' are versions by saga")
    return value
