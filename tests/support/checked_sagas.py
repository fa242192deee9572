"""One saga of given steps, checked: its problems, or the saga itself."""

from __future__ import annotations

from typing import Any

import pytest

from saga_service.definitions import DefinedSaga, DefinitionErrors, Saga, Step, check_saga

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "amount": {"type": "number"},
        "count": {"type": "integer"},
        "name": {"type": "string"},
        "robot-count": {"type": "integer"},
        "place": {"type": "string", "format": "date-time"},
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
        "customer": {
            "type": "object",
            "required": ["name", "credit"],
            "properties": {"name": {"type": "string"}, "credit": {"type": "number"}},
        },
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "maybe": {"type": ["integer", "null"]},
        "flag": {"type": "boolean"},
        "level": {"enum": [1, 2, "all"]},
        "anything": {},
    },
    "$defs": {
        "item": {
            "type": "object",
            "required": ["sku", "price"],
            "properties": {"sku": {"type": "string"}, "price": {"type": "number"}},
        }
    },
}
SCHEMA["required"] = list(SCHEMA["properties"])


def problems_of(*steps: Step, **words: Any) -> list[tuple[str, str]]:
    with pytest.raises(DefinitionErrors) as raised:
        check_saga(Saga("order", steps=steps, **{"input": SCHEMA, **words}))
    assert all("\n" not in problem.text for problem in raised.value.problems), "a problem is one line"
    return [(problem.path, problem.text) for problem in raised.value.problems]


def right(*steps: Step, **words: Any) -> DefinedSaga:
    return check_saga(Saga("order", steps=steps, **{"input": SCHEMA, **words}))


def command(name: str, **words: Any) -> Step:
    return Step(name, action=f"{name}.do", **words)


PIVOT = command("pay", kind="pivot")
