"""Check that conditions and mappings are CEL, and refer to inputs, steps and functions that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from saga_service.base.similar_names import closest, closest_or_all
from saga_service.core.vocabulary import Task
from saga_service.definitions.checks.sample_cases import known_output
from saga_service.definitions.checks.types import Place, one_line, type_problems
from saga_service.definitions.expressions.cel import CompiledExpression, InvalidExpression, compile_expression
from saga_service.definitions.expressions.references import FUNCTIONS, ORDERED_MACROS, TYPE_NAMES, VARIABLES, Reference
from saga_service.definitions.outline import Outline, StepOutline
from saga_service.definitions.problems import Violation, shown
from saga_service.definitions.schema.json_schema import is_open, properties_of, types_of
from saga_service.wire.commands import OUTPUTS_FIELD
from saga_service.wire.json import NESTING_MAX

_BARE_WORDS = re.compile(r"[A-Za-z][\w .,:/@#-]*")


def check_expressions(outline: Outline) -> Iterator[Violation]:
    """Every condition, and every text in a mapping, is an expression that can be evaluated there."""
    for step in outline.steps:
        if step.when is not None:
            yield from _text_violations(step.when, Place(step.path("when"), step, outline, must_be_boolean=True))
        if "input" in step.content and step.has_effects:
            yield from _mapping_violations(step.content["input"], step, outline)


def _mapping_violations(written: object, step: StepOutline, outline: Outline) -> Iterator[Violation]:
    if not isinstance(written, Mapping):
        yield step.path("input"), f"must be a mapping, such as {{amount: input.amount}}, but is {shown(written)}"
        return
    if OUTPUTS_FIELD in written:
        yield step.path("input", OUTPUTS_FIELD), "is reserved for the results of earlier steps; give it another name"
    yield from _part_violations(written, Place(step.path("input"), step, outline))


def _part_violations(part: object, place: Place) -> Iterator[Violation]:
    match part:
        case list() | Mapping() if len(place.path) - len(place.step.path("input")) >= NESTING_MAX:
            yield place.step.path("input"), f"is nested more than {NESTING_MAX} levels deep"
        case str():
            yield from _text_violations(part, place)
        case Mapping():
            for name, inner in part.items():
                if isinstance(name, str) and name.isprintable():
                    yield from _part_violations(inner, place.inside(name))
                else:
                    yield place.path, f"has the key {shown(name)}, and a key must be text that can be read"
        case list():
            for position, inner in enumerate(part):
                yield from _part_violations(inner, place.inside(position))
        case _:
            if not _is_json_constant(part):
                yield place.path, f"must be plain JSON, but is {shown(part)}"


def _is_json_constant(part: object) -> bool:
    match part:
        case None | bool():
            return True
        case int():
            return -(2**63) <= part < 2**64
        case float():
            return isfinite(part)
        case _:
            return False


def _text_violations(text: str, place: Place) -> Iterator[Violation]:
    try:
        compiled = compile_expression(text)
    except InvalidExpression as error:
        hint = "" if place.must_be_boolean else _as_constant(text)
        yield place.path, f"is no CEL expression: {error}: {shown(one_line(text))}{hint}"
        return
    # Types are looked at where all names are known.
    problems = list(_reference_problems(compiled, place)) or type_problems(compiled, place)
    yield from ((place.path, text) for text in problems)


def _reference_problems(compiled: CompiledExpression, place: Place) -> Iterator[str]:
    for name in sorted(compiled.references.bound & set(VARIABLES)):
        yield f"calls an entry '{name}', which is a variable already; give it another name"
    for name in compiled.references.functions:
        if name not in FUNCTIONS:
            hint = closest_or_all(name, sorted(FUNCTIONS), "there are")
            yield f"calls the function '{name}', which does not exist{hint}"
    for reference in compiled.references.variables:
        match reference.variable:
            case "input":
                yield from _input_problems(reference, place.outline)
            case "outputs":
                yield from _output_problems(reference, place)
            case name:
                yield _unknown_variable(name, compiled.text, place)
        if reference.macro in ORDERED_MACROS and _is_mapping(reference, place.outline):
            yield (
                f"makes a list of the keys of '{reference}', which have no order: "
                "the same saga would not always have the same list; name the keys one by one"
            )


def _unknown_variable(name: str, text: str, place: Place) -> str:
    known = f"'{name}' is no variable; an expression refers to 'input' and 'outputs'"
    properties = place.outline.reader.stored if place.outline.reader else {}
    if name in properties:
        return f"{known}; did you mean 'input.{name}'?"
    if name in place.outline.names:
        return f"{known}; did you mean '{_output_of(name)}'?"
    return f"{known}{closest(name, VARIABLES) or ('' if place.must_be_boolean else _as_constant(text))}"


def _as_constant(text: str) -> str:
    """A question to end a text with, where the author may have meant the text itself."""
    stripped = text.strip()
    if not _BARE_WORDS.fullmatch(stripped) or stripped in TYPE_NAMES:
        return ""
    return f"""; did you mean the constant "'{stripped}'"?"""


def _input_problems(reference: Reference, outline: Outline) -> Iterator[str]:
    if outline.reader is not None:
        yield from _name_problems(reference, outline.reader.stored_schema, 0)


def _name_problems(reference: Reference, root: Mapping[str, Any], begin: int) -> Iterator[str]:
    """The first name from this place on that does not exist."""
    schema: Any = root
    for depth, name in enumerate(reference.path[begin:], begin):
        properties = properties_of(schema, root)
        if not properties or is_open(schema, root):
            return
        holder = Reference(reference.variable, reference.path[:depth])
        if name not in properties:
            yield _unknown_property(name, reference, holder, list(properties))
            return
        if depth == len(reference.path) - 1:
            yield from _subtracted(reference, holder, list(properties))
        schema = properties[name]


def _unknown_property(name: str, reference: Reference, holder: Reference, known: list[str]) -> str:
    for meant in _subtracted(reference, holder, known):
        return meant
    hint = closest_or_all(name, known, "its properties")
    return f"refers to '{Reference(holder.variable, (*holder.path, name))}', and '{holder}' has no '{name}'{hint}"


def _subtracted(reference: Reference, holder: Reference, known: list[str]) -> Iterator[str]:
    """A name with '-', written in a way that CEL reads as a subtraction."""
    for count in range(len(reference.subtracted), 0, -1):
        name = "-".join((reference.path[-1], *reference.subtracted[:count])) if reference.path else ""
        if len(reference.path) == len(holder.path) + 1 and name in known:
            meant = Reference(holder.variable, (*holder.path, name))
            yield f"subtracts '{reference.subtracted[0]}' from '{reference}'; a name with '-' is written {meant}"
            return


def _is_mapping(reference: Reference, outline: Outline) -> bool:
    names_a_step = reference.variable == "outputs"
    if len(reference.path) <= names_a_step:
        return True
    described = _described(reference, outline)
    if described is None:
        return False
    root, path = described
    schema: Any = root
    for name in path:
        schema = properties_of(schema, root).get(name)
    return types_of(schema, root) == {"object"}


def _described(reference: Reference, outline: Outline) -> tuple[Mapping[str, Any], tuple[str, ...]] | None:
    """The schema in which the names after the variable, or after the step, are looked up; and these names."""
    if reference.variable == "input":
        return None if outline.reader is None else (outline.reader.stored_schema, reference.path)
    position = outline.position_of(reference.path[0]) if reference.path else None
    schema = None if position is None else known_output(outline.steps[position], outline.sagas_by_name)
    return None if schema is None else (schema, reference.path[1:])


def _output_problems(reference: Reference, place: Place) -> Iterator[str]:
    if not reference.path:
        yield "refers to 'outputs' as a whole; name a step that this one waits for, such as 'outputs.check'"
        return
    outline, step = place.outline, place.step
    known = [outline.steps[position].name for position in sorted(step.ancestors)]
    if len(reference.path) == 1:
        for meant in _subtracted(reference, Reference("outputs", ()), outline.names):
            yield meant
            return
    name = reference.path[0]
    position = outline.position_of(name)
    text = f"refers to '{_output_of(name)}', and"
    if position is None:
        hint = closest_or_all(name, known, "this step waits for")
        yield f"{text} there is no step '{name}'{hint}"
    elif position == step.position:
        yield f"{text} that is this step itself; name a step that it waits for"
    elif position not in step.ancestors:
        yield f"{text} this step does not wait for '{name}'; name it at 'after'"
    elif outline.steps[position].task is Task.SLEEP:
        yield f"{text} '{name}' is a sleep, which has no output"
    else:
        schema = known_output(outline.steps[position], outline.sagas_by_name)
        yield from () if schema is None else _name_problems(reference, schema, 1)


def _output_of(name: str) -> str:
    return str(Reference("outputs", (name,)))
