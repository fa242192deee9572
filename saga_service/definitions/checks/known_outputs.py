"""The schema of a step's output, as far as it is known before any saga runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saga_service.core.state import JsonObject
from saga_service.core.vocabulary import Task
from saga_service.definitions.outline import Outline, SagasByName, StepOutline

_ANYTHING: JsonObject = {"type": "object"}


def known_output(step: StepOutline, sagas_by_name: SagasByName) -> JsonObject | None:
    """The JSON Schema of the step's output; None where nothing is known of it.

    Of a command it is what the author wrote. A child saga returns the outputs of its own steps, by their names.
    """
    return _known(step, sagas_by_name, {})


def depends_on_conditions(step: StepOutline, sagas_by_name: SagasByName) -> bool:
    """True if a condition in a child saga decides if a part of the output is there."""
    seen: set[int] = set()
    left = [step]
    while left:
        child = child_of(left.pop(), sagas_by_name)
        if child is None or id(child) in seen:
            continue
        if any("when" in each.content for each in child.steps):
            return True
        seen.add(id(child))
        left += child.steps
    return False


def child_of(step: StepOutline, sagas_by_name: SagasByName) -> Outline | None:
    """The saga that the step starts; None where it starts none, or one that is not there."""
    name = _child_name(step)
    return None if name is None else sagas_by_name.get(name)


def _known(step: StepOutline, sagas_by_name: SagasByName, of_sagas: dict[str, JsonObject]) -> JsonObject | None:
    if step.task is Task.COMMAND:
        return None if step.output_schema is None else step.output_schema.schema
    name = _child_name(step)
    if name is None or name not in sagas_by_name:
        return None
    if name not in of_sagas:
        # A saga that is its own descendant is reported by another check, and must not loop here.
        of_sagas[name] = _ANYTHING
        of_sagas[name] = _of_steps(sagas_by_name[name], sagas_by_name, of_sagas)
    return of_sagas[name]


def _child_name(step: StepOutline) -> str | None:
    name = step.content.get("saga")
    return name if step.task is Task.CHILD and isinstance(name, str) else None


def _of_steps(child: Outline, sagas_by_name: SagasByName, of_sagas: dict[str, JsonObject]) -> JsonObject:
    steps = [each for each in child.steps if each.task is not Task.SLEEP]
    return {
        "type": "object",
        "properties": {each.name: _held(_known(each, sagas_by_name, of_sagas)) for each in steps},
        # A step that a person skips has no output either, which no author can provide for.
        "required": [each.name for each in steps if "when" not in each.content],
        "additionalProperties": False,
    }


def _held(schema: JsonObject | None) -> Mapping[str, Any]:
    """The schema as a part of another one. A schema that refers to itself cannot be such a part."""
    return _ANYTHING if schema is None or not {"$defs", "definitions"}.isdisjoint(schema) else schema
