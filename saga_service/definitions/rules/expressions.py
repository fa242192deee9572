"""Expressions speak of what there is, and fit its types as far as the input's schema tells them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import orjson

from saga_service.core.definition import ExpressionFailed, Task
from saga_service.definitions.expressions import Compiled, NotAnExpression, WrongTypes, compile_expression
from saga_service.definitions.mentions import FUNCTIONS, ORDERED_MACROS, TYPE_NAMES, VARIABLES, Mention
from saga_service.definitions.outline import Outline, StepOutline, Wrong
from saga_service.definitions.problems import SHOWN_CHARACTERS_MAX, Path, closest, shown
from saga_service.definitions.samples import input_samples
from saga_service.definitions.schema import is_open, properties_of, types_of
from saga_service.wire.commands import OUTPUTS_FIELD
from saga_service.wire.json import NESTING_MAX

_BARE_WORDS = re.compile(r"[A-Za-z][\w .,:/@#-]*")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an expression stands, and what it may speak of."""

    path: Path
    step: StepOutline
    outline: Outline
    must_be_truth: bool = False


def wrong_expressions(outline: Outline) -> Iterator[Wrong]:
    for step in outline.steps:
        when = step.written.get("when")
        if isinstance(when, str):
            yield from _wrong_text(when, _Place(step.path("when"), step, outline, must_be_truth=True))
        if "input" in step.written and step.is_work:
            yield from _wrong_mapping(step.written["input"], step, outline)


def _wrong_mapping(written: object, step: StepOutline, outline: Outline) -> Iterator[Wrong]:
    if not isinstance(written, Mapping):
        yield step.path("input"), f"must be a mapping, such as {{amount: input.amount}}, but is {shown(written)}"
        return
    if OUTPUTS_FIELD in written:
        yield step.path("input", OUTPUTS_FIELD), "is reserved for the results of earlier steps; give it another name"
    yield from _wrong_part(written, _Place(step.path("input"), step, outline))


def _wrong_part(part: object, place: _Place) -> Iterator[Wrong]:
    match part:
        case list() | Mapping() if len(place.path) - len(place.step.path("input")) >= NESTING_MAX:
            yield place.step.path("input"), f"is nested more than {NESTING_MAX} levels deep"
        case str():
            yield from _wrong_text(part, place)
        case Mapping():
            for name, inner in part.items():
                if isinstance(name, str) and name.isprintable():
                    yield from _wrong_part(inner, _inside(place, name))
                else:
                    yield place.path, f"has the key {shown(name)}, and a key must be text that can be read"
        case list():
            for position, inner in enumerate(part):
                yield from _wrong_part(inner, _inside(place, position))
        case _:
            if _wrong_constant(part):
                yield place.path, f"must be plain JSON, but is {shown(part)}"


def _inside(place: _Place, name: str | int) -> _Place:
    return _Place((*place.path, name), place.step, place.outline)


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


def _wrong_text(text: str, place: _Place) -> Iterator[Wrong]:
    try:
        compiled = compile_expression(text)
    except NotAnExpression as error:
        hint = "" if place.must_be_truth else _as_constant(text)
        yield place.path, f"is no CEL expression: {error}: {shown(_one_line(text))}{hint}"
        return
    wrong = list(_wrong_mentions(compiled, place))
    yield from ((place.path, told) for told in wrong or _wrong_types(compiled, place))


def _wrong_mentions(compiled: Compiled, place: _Place) -> Iterator[str]:
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


def _unknown_variable(name: str, text: str, place: _Place) -> str:
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
    if outline.reader is None:
        return
    root = outline.reader.stored_schema
    schema: Any = root
    for depth, name in enumerate(mention.path):
        properties = properties_of(schema, root)
        if not properties or is_open(schema, root):
            return
        holder = Mention("input", mention.path[:depth])
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
    if mention.variable == "outputs" or not mention.path:
        return len(mention.path) <= 1
    if outline.reader is None:
        return False
    root = outline.reader.stored_schema
    schema: Any = root
    for name in mention.path:
        schema = properties_of(schema, root).get(name)
    return types_of(schema, root) == {"object"}


# --------------------------------------------------------------------------------------------------------- outputs


def _wrong_output(mention: Mention, place: _Place) -> Iterator[str]:
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


def _output_of(name: str) -> str:
    return str(Mention("outputs", (name,)))


# ----------------------------------------------------------------------------------------------------------- types


def _wrong_types(compiled: Compiled, place: _Place) -> Iterator[str]:
    """What is found by trying the expression on inputs such as the schema allows: the first that does not fit."""
    told = shown(_one_line(compiled.text))
    for sample in _samples(compiled, place.outline):
        tried = "".join(f"; tried with input.{name} = {_json(value)}" for name, value in sample.items())
        try:
            value = compiled.value_for({"input": sample, "outputs": {}})
        except ExpressionFailed as error:
            if isinstance(error, WrongTypes) or not sample or _is_missing(error, compiled.text):
                yield f"{told}: {error}{tried}"
                return
            continue
        if place.must_be_truth and not isinstance(value, bool):
            yield f"must give true or false, but {told} gives {_json(value)}{tried}"
            return


def _samples(compiled: Compiled, outline: Outline) -> list[dict[str, Any]]:
    """Nothing where not all types are known."""
    mentions = compiled.mentions.variables
    if any(mention.variable != "input" or not mention.path for mention in mentions) or outline.reader is None:
        return [] if mentions else [{}]
    return input_samples(outline.reader.stored_schema, {mention.path[0] for mention in mentions}) or []


def _is_missing(error: ExpressionFailed, text: str) -> bool:
    """Whether a name in the text is not there: a sample has all that the schema names. What else fails depends on the
    values, and these are made up."""
    cause = error.__cause__
    return isinstance(cause, KeyError) and re.search(rf"\.\s*{re.escape(str(cause.args[0]))}\b", text) is not None


def _json(value: object) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}…"


def _one_line(text: str) -> str:
    return " ".join(text.split())
