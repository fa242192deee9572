"""What workers really did, in a file that outlives them, Redis and Postgres."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import orjson

FILE_VARIABLE = "SAGA_TEST_EFFECTS"


@dataclass(frozen=True, slots=True)
class Effect:
    """One execution of a handler, at the moment at which it took effect."""

    at_ns: int
    began_ns: int
    process: int
    saga_id: str
    step: str
    direction: str
    attempt: int
    idempotency_key: str
    outcome: str


def write_effect(effect: Effect) -> None:
    """Append it in one write: a process that is killed leaves a whole line or none."""
    file = os.open(os.environ[FILE_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, orjson.dumps(effect) + b"\n")
    finally:
        os.close(file)


def is_first(name: str) -> bool:
    """Whether nobody has asked for this name before, in any process of the test."""
    try:
        os.close(os.open(f"{os.environ[FILE_VARIABLE]}.{name}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def read_effects(path: Path) -> list[Effect]:
    if not path.exists():
        return []
    return [Effect(**orjson.loads(line)) for line in path.read_bytes().splitlines()]
