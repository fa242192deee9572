"""The data of a step's commands, as far as the definition decides it, in the form of a JSON Schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from saga_service.core.definition import Definition
from saga_service.core.state import JsonObject
from saga_service.core.vocabulary import COMPENSATION, Direction, Task
from saga_service.definitions.checks.sample_cases import known_output
from saga_service.definitions.checks.types import Place, reached_cases
from saga_service.definitions.compatibility.schema_comparison import Part
from saga_service.definitions.document import DefinedSaga
from saga_service.definitions.expressions.references import Reference, references_of
from saga_service.definitions.expressions.static_evaluation import StaticEvaluation
from saga_service.definitions.outline import Outline, SagasByName, StepOutline
from saga_service.definitions.schema.json_schema import may_lack, properties_of, type_of
from saga_service.definitions.schema.outputs import OutputSchema
from saga_service.definitions.schema.samples import is_unknown
from saga_service.wire.commands import OUTPUTS_FIELD

_KEYWORD_OF = {Task.COMMAND: "action", Task.SIGNAL: "signal", Task.CHILD: "saga", Task.SLEEP: "sleep"}
_REFERRING = {"$defs", "definitions"}


def outlines_of_specs(specs: Iterable[DefinedSaga]) -> list[Outline]:
    """One outline for each of the sagas, which know one another by name; of several versions the first one is known."""
    by_name: dict[str, Outline] = {}
    outlines = [_outline(spec, by_name) for spec in specs]
    for outline in outlines:
        by_name.setdefault(outline.content["name"], outline)
    return outlines


def _outline(spec: DefinedSaga, by_name: SagasByName) -> Outline:
    written: list[Mapping[str, Any]] = spec.document["steps"]
    steps = tuple(
        StepOutline(position, _content(step), frozenset(spec.definition.ancestors[position]), _output(spec, position))
        for position, step in enumerate(written)
    )
    return Outline({"name": spec.name, "steps": written}, steps, spec.input, sagas_by_name=by_name)


def _output(spec: DefinedSaga, position: int) -> OutputSchema | None:
    output = spec.definition.steps[position].output
    return output if isinstance(output, OutputSchema) else None


def _content(step: Mapping[str, Any]) -> dict[str, Any]:
    """The step as its author might have written it."""
    kept = {word: step[word] for word in ("name", "when", "input", "default") if step[word] is not None}
    return {**kept, _KEYWORD_OF[Task(step["task"])]: step["action"] or step["timeout_ms"]}


def command_data(definition: Definition, outline: Outline, position: int, direction: Direction) -> Part:
    """The data that each command of the step has in this direction."""
    step = outline.steps[position]
    written = step.content.get("input")
    sent = _whole_input(step, outline) if written is None else _mapped(written, step, outline)
    outputs = _outputs(definition, outline, position, direction, is_mapped=written is not None)
    properties = {**sent["properties"], OUTPUTS_FIELD: outputs}
    schema = {**sent, "properties": properties, "required": [*sent.get("required", ()), OUTPUTS_FIELD]}
    return Part(schema, schema)


def _whole_input(step: StepOutline, outline: Outline) -> JsonObject:
    """The schema of the saga's stored input. The step's own condition may say that a property is there."""
    reader = outline.reader
    if reader is None:
        return {"type": "object", "properties": {}}
    root = reader.stored_schema
    properties = properties_of(root)
    required = [name for name in properties if not may_lack(root, name, root) or _is_asked_for(name, step, outline)]
    definitions = {word: root[word] for word in _REFERRING if word in root}
    closed = {} if reader.keeps_more else {"additionalProperties": False}
    return {"type": "object", "properties": properties, "required": required, **closed, **definitions}


def _is_asked_for(name: str, step: StepOutline, outline: Outline) -> bool:
    """True if the step is not done where the property is missing, as far as that can be seen."""
    if step.when is None:
        return False
    reference = Reference("input", (name,))
    asked = f"has({reference})" if name.isidentifier() else f'"{name}" in input'
    evaluation = StaticEvaluation()
    reached, _ = reached_cases([asked], Place(step.path("input"), step, outline), evaluation)
    return all(evaluation.json_value(asked, case) is not False for case, _ in reached)


def _mapped(written: Mapping[str, Any], step: StepOutline, outline: Outline) -> JsonObject:
    properties = {name: _part(part, step, outline) for name, part in written.items()}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _part(part: Any, step: StepOutline, outline: Outline) -> Any:
    match part:
        case str():
            return _of_expression(part, step, outline)
        case Mapping():
            return _mapped(part, step, outline)
        case list():
            return {"type": "array"}
        case _:
            return {"type": type_of(part)}


def _of_expression(text: str, step: StepOutline, outline: Outline) -> JsonObject:
    """The types of an expression's values on samples; nothing where one of them is not known."""
    referred = _referred_schema(text, outline)
    if referred is not None:
        return referred
    evaluation = StaticEvaluation()
    reached, _ = reached_cases([text], Place(step.path("input"), step, outline), evaluation)
    values = [evaluation.json_value(text, case) for case, _ in reached]
    if not values or any(is_unknown(value) for value in values):
        return {}
    return {"type": sorted({type_of(value) for value in values})}


def _referred_schema(text: str, outline: Outline) -> JsonObject | None:
    """The schema of a value that is sent as it is; None where the expression is more than a reference."""
    found = references_of(text).variables
    if len(found) != 1 or str(found[0]) != text.strip() or not found[0].path:
        return None
    root, path = _holder(found[0], outline)
    schema: Any = root
    for name in path:
        schema = properties_of(schema, root or {}).get(name)
    # A schema with references is part of another one, in which they would be looked up in vain.
    return schema if isinstance(schema, dict) and root is not None and not _refers(schema) else None


def _holder(reference: Reference, outline: Outline) -> tuple[JsonObject | None, tuple[str, ...]]:
    if reference.variable == "input":
        return None if outline.reader is None else outline.reader.stored_schema, reference.path
    position = outline.position_of(reference.path[0])
    known = None if position is None else known_output(outline.steps[position], outline.sagas_by_name)
    return known, reference.path[1:]


def _refers(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        return "$ref" in schema or any(_refers(inner) for inner in schema.values())
    return isinstance(schema, list) and any(_refers(inner) for inner in schema)


def _outputs(
    definition: Definition, outline: Outline, position: int, direction: Direction, *, is_mapped: bool
) -> JsonObject:
    """The schema of the outputs that the command carries beside its input."""
    is_undo = direction is COMPENSATION
    if is_mapped:
        places: Iterable[int] = (position,) if is_undo else ()
    else:
        places = range(len(outline.steps)) if is_undo else definition.ancestors[position]
    steps = [outline.steps[place] for place in places if outline.steps[place].task is not Task.SLEEP]
    certain = set(definition.ancestors[position])
    return {
        "type": "object",
        "properties": {step.name: _held(known_output(step, outline.sagas_by_name)) for step in steps},
        "required": [step.name for step in steps if step.position in certain and step.when is None],
        "additionalProperties": False,
    }


def _held(schema: JsonObject | None) -> JsonObject:
    return {} if schema is None or _refers(schema) else schema
