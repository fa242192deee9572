"""What is known of a step's output before any saga runs, as a JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saga_service.core.definition import Task
from saga_service.core.state import JsonObject
from saga_service.definitions.outline import Family, StepOutline

_ANYTHING: JsonObject = {"type": "object"}
_GENERATIONS_MAX = 5
"""A saga that is its own descendant is told of elsewhere, and must end here."""


def known_output(step: StepOutline, family: Family, generation: int = 0) -> JsonObject | None:
    """Of a command what the author says; of a child saga what its own steps return, by their names. None where nothing
    is known."""
    if step.task is Task.COMMAND:
        return None if step.shape is None else step.shape.schema
    if step.task is not Task.CHILD or generation > _GENERATIONS_MAX:
        return None
    child = family.get(step.written["saga"])
    if child is None:
        return None
    steps = [each for each in child.steps if each.task is not Task.SLEEP]
    return {
        "type": "object",
        "properties": {each.name: _held(known_output(each, family, generation + 1)) for each in steps},
        # A step that a person skips has no output either. That is not the author's business.
        "required": [each.name for each in steps if "when" not in each.written],
        "additionalProperties": False,
    }


def _held(schema: JsonObject | None) -> Mapping[str, Any]:
    """As it can stand in another: the references of a schema that holds itself lead nowhere there."""
    return _ANYTHING if schema is None or not {"$defs", "definitions"}.isdisjoint(schema) else schema


def depends_on_conditions(step: StepOutline, family: Family, generation: int = 0) -> bool:
    """Whether a part of the output is there or not by a condition in another saga."""
    child = family.get(step.written["saga"]) if step.task is Task.CHILD else None
    if child is None or generation > _GENERATIONS_MAX:
        return False
    return any("when" in each.written or depends_on_conditions(each, family, generation + 1) for each in child.steps)
