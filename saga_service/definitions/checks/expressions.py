"""Expressions are CEL, and speak of what there is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

from saga_service.core.vocabulary import Task
from saga_service.definitions.checks.known_outputs import known_output
from saga_service.definitions.checks.place import Place, one_line
from saga_service.definitions.checks.types import wrong_types
from saga_service.definitions.expressions.cel import Compiled, NotAnExpression, compile_expression
from saga_service.definitions.expressions.references import FUNCTIONS, ORDERED_MACROS, TYPE_NAMES, VARIABLES, Mention
from saga_service.definitions.outline import Outline, StepOutline, Wrong
from saga_service.definitions.problems import closest, shown
from saga_service.definitions.schema.json_schema import is_open, properties_of, types_of
from saga_service.wire.commands import OUTPUTS_FIELD
from saga_service.wire.json import NESTING_MAX

_BARE_WORDS = re.compile(r"[A-Za-z][\w .,:/@#-]*")


def wrong_expressions(outline: Outline) -> Iterator[Wrong]:
    for step in outline.steps:
        if step.when is not None:
            yield from _wrong_text(step.when, Place(step.path("when"), step, outline, must_be_truth=True))
        if "input" in step.written and step.is_work:
            yield from _wrong_mapping(step.written["input"], step, outline)


def _wrong_mapping(written: object, step: StepOutline, outline: Outline) -> Iterator[Wrong]:
    if not isinstance(written, Mapping):
        yield step.path("input"), f"must be a mapping, such as {{amount: input.amount}}, but is {shown(written)}"
        return
    if OUTPUTS_FIELD in written:
        yield step.path("input", OUTPUTS_FIELD), "is reserved for the results of earlier steps; give it another name"
    yield from _wrong_part(written, Place(step.path("input"), step, outline))


def _wrong_part(part: object, place: Place) -> Iterator[Wrong]:
    match part:
        case list() | Mapping() if len(place.path) - len(place.step.path("input")) >= NESTING_MAX:
            yield place.step.path("input"), f"is nested more than {NESTING_MAX} levels deep"
        case str():
            yield from _wrong_text(part, place)
        case Mapping():
            for name, inner in part.items():
                if isinstance(name, str) and name.isprintable():
                    yield from _wrong_part(inner, place.inside(name))
                else:
                    yield place.path, f"has the key {shown(name)}, and a key must be text that can be read"
        case list():
            for position, inner in enumerate(part):
                yield from _wrong_part(inner, place.inside(position))
        case _:
            if _wrong_constant(part):
                yield place.path, f"must be plain JSON, but is {shown(part)}"


def _wrong_constant(part: object) -> bool:
    match part:
        case None | bool():
            return False
        case int():
            return not -(2**63) <= part < 2**64
        case float():
            return not isfinite(part)
        case _:
            return True


# --------------------------------------------------------------------------------------------------- one expression


def _wrong_text(text: str, place: Place) -> Iterator[Wrong]:
    try:
        compiled = compile_expression(text)
    except NotAnExpression as error:
        hint = "" if place.must_be_truth else _as_constant(text)
        yield place.path, f"is no CEL expression: {error}: {shown(one_line(text))}{hint}"
        return
    wrong = list(_wrong_mentions(compiled, place))
    yield from ((place.path, told) for told in wrong or wrong_types(compiled, place))


def _wrong_mentions(compiled: Compiled, place: Place) -> Iterator[str]:
    for name in sorted(compiled.mentions.bound & set(VARIABLES)):
        yield f"calls an entry '{name}', which is a variable already; give it another name"
    for name in compiled.mentions.functions:
        if name not in FUNCTIONS:
            hint = closest(name, sorted(FUNCTIONS)) or f"; there are: {', '.join(sorted(FUNCTIONS))}"
            yield f"calls the function '{name}', which there is not{hint}"
    for mention in compiled.mentions.variables:
        match mention.variable:
            case "input":
                yield from _wrong_input(mention, place.outline)
            case "outputs":
                yield from _wrong_output(mention, place)
            case name:
                yield _unknown_variable(name, compiled.text, place)
        if mention.macro in ORDERED_MACROS and _is_mapping(mention, place.outline):
            yield (
                f"makes a list of the keys of '{mention}', which have no order: "
                "the same saga would not always have the same list; name the keys one by one"
            )


def _unknown_variable(name: str, text: str, place: Place) -> str:
    known = f"'{name}' is no variable; an expression speaks of 'input' and 'outputs'"
    properties = place.outline.reader.stored if place.outline.reader else {}
    if name in properties:
        return f"{known}; did you mean 'input.{name}'?"
    if name in place.outline.names:
        return f"{known}; did you mean '{_output_of(name)}'?"
    return f"{known}{closest(name, VARIABLES) or ('' if place.must_be_truth else _as_constant(text))}"


def _as_constant(text: str) -> str:
    """A question to end a text with, where the author's words could be meant as they are."""
    stripped = text.strip()
    if not _BARE_WORDS.fullmatch(stripped) or stripped in TYPE_NAMES:
        return ""
    return f"""; did you mean the constant "'{stripped}'"?"""


# ----------------------------------------------------------------------------------------------------------- input


def _wrong_input(mention: Mention, outline: Outline) -> Iterator[str]:
    if outline.reader is not None:
        yield from _wrong_names(mention, outline.reader.stored_schema, 0)


def _wrong_names(mention: Mention, root: Mapping[str, Any], begin: int) -> Iterator[str]:
    """The first name that is not there, of those from this place on."""
    schema: Any = root
    for depth, name in enumerate(mention.path[begin:], begin):
        properties = properties_of(schema, root)
        if not properties or is_open(schema, root):
            return
        holder = Mention(mention.variable, mention.path[:depth])
        if name not in properties:
            yield _unknown_property(name, mention, holder, list(properties))
            return
        if depth == len(mention.path) - 1:
            yield from _subtracted(mention, holder, list(properties))
        schema = properties[name]


def _unknown_property(name: str, mention: Mention, holder: Mention, known: list[str]) -> str:
    for meant in _subtracted(mention, holder, known):
        return meant
    hint = closest(name, known) or f"; its properties: {', '.join(known)}"
    return f"speaks of '{Mention(holder.variable, (*holder.path, name))}', and '{holder}' has no '{name}'{hint}"


def _subtracted(mention: Mention, holder: Mention, known: list[str]) -> Iterator[str]:
    """A name with '-' that is written so that CEL takes it for a subtraction."""
    for count in range(len(mention.more), 0, -1):
        name = "-".join((mention.path[-1], *mention.more[:count])) if mention.path else ""
        if len(mention.path) == len(holder.path) + 1 and name in known:
            meant = Mention(holder.variable, (*holder.path, name))
            yield f"subtracts '{mention.more[0]}' from '{mention}'; a name with '-' is written {meant}"
            return


def _is_mapping(mention: Mention, outline: Outline) -> bool:
    names_a_step = mention.variable == "outputs"
    if len(mention.path) <= names_a_step:
        return True
    described = _described(mention, outline)
    if described is None:
        return False
    root, path = described
    schema: Any = root
    for name in path:
        schema = properties_of(schema, root).get(name)
    return types_of(schema, root) == {"object"}


def _described(mention: Mention, outline: Outline) -> tuple[Mapping[str, Any], tuple[str, ...]] | None:
    """The schema that the names after the variable, or after the step, are looked up in; and these names."""
    if mention.variable == "input":
        return None if outline.reader is None else (outline.reader.stored_schema, mention.path)
    position = outline.position_of(mention.path[0]) if mention.path else None
    schema = None if position is None else known_output(outline.steps[position], outline.family)
    return None if schema is None else (schema, mention.path[1:])


# --------------------------------------------------------------------------------------------------------- outputs


def _wrong_output(mention: Mention, place: Place) -> Iterator[str]:
    if not mention.path:
        yield "speaks of 'outputs' as a whole; name a step that this one waits for, such as 'outputs.check'"
        return
    outline, step = place.outline, place.step
    known = [outline.steps[position].name for position in sorted(step.ancestors)]
    if len(mention.path) == 1:
        for meant in _subtracted(mention, Mention("outputs", ()), outline.names):
            yield meant
            return
    name = mention.path[0]
    position = outline.position_of(name)
    told = f"speaks of '{_output_of(name)}', and"
    if position is None:
        hint = closest(name, known) or (f"; this step waits for: {', '.join(known)}" if known else "")
        yield f"{told} there is no step '{name}'{hint}"
    elif position == step.position:
        yield f"{told} that is this step itself; name a step that it waits for"
    elif position not in step.ancestors:
        yield f"{told} this step does not wait for '{name}'; name it at 'after'"
    elif outline.steps[position].task is Task.SLEEP:
        yield f"{told} '{name}' is a sleep, which has no output"
    else:
        schema = known_output(outline.steps[position], outline.family)
        yield from () if schema is None else _wrong_names(mention, schema, 1)


def _output_of(name: str) -> str:
    return str(Mention("outputs", (name,)))
