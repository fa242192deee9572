"""What is known of a step's output before any saga runs, as a JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saga_service.core.state import JsonObject
from saga_service.core.vocabulary import Task
from saga_service.definitions.outline import Family, Outline, StepOutline

_ANYTHING: JsonObject = {"type": "object"}


def known_output(step: StepOutline, family: Family) -> JsonObject | None:
    """Of a command what the author says; of a child saga what its own steps return, by their names. None where nothing
    is known."""
    return _known(step, family, {})


def depends_on_conditions(step: StepOutline, family: Family) -> bool:
    """Whether a part of the output is there or not by a condition in another saga."""
    seen: set[int] = set()
    left = [step]
    while left:
        child = child_of(left.pop(), family)
        if child is None or id(child) in seen:
            continue
        if any("when" in each.written for each in child.steps):
            return True
        seen.add(id(child))
        left += child.steps
    return False


def child_of(step: StepOutline, family: Family) -> Outline | None:
    """The saga that the step starts, where it is there."""
    name = _child_name(step)
    return None if name is None else family.get(name)


def _known(step: StepOutline, family: Family, of_sagas: dict[str, JsonObject]) -> JsonObject | None:
    if step.task is Task.COMMAND:
        return None if step.shape is None else step.shape.schema
    name = _child_name(step)
    if name is None or name not in family:
        return None
    if name not in of_sagas:
        # A saga that is its own descendant is told of elsewhere, and must end here.
        of_sagas[name] = _ANYTHING
        of_sagas[name] = _of_steps(family[name], family, of_sagas)
    return of_sagas[name]


def _child_name(step: StepOutline) -> str | None:
    name = step.written.get("saga")
    return name if step.task is Task.CHILD and isinstance(name, str) else None


def _of_steps(child: Outline, family: Family, of_sagas: dict[str, JsonObject]) -> JsonObject:
    steps = [each for each in child.steps if each.task is not Task.SLEEP]
    return {
        "type": "object",
        "properties": {each.name: _held(_known(each, family, of_sagas)) for each in steps},
        # A step that a person skips has no output either. That is not the author's business.
        "required": [each.name for each in steps if "when" not in each.written],
        "additionalProperties": False,
    }


def _held(schema: JsonObject | None) -> Mapping[str, Any]:
    """As it can stand in another: the references of a schema that holds itself lead nowhere there."""
    return _ANYTHING if schema is None or not {"$defs", "definitions"}.isdisjoint(schema) else schema
