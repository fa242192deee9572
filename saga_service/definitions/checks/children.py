"""What a child saga is sent fits its own input, as far as both are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from saga_service.definitions.checks.known_outputs import child_of
from saga_service.definitions.checks.place import Place, json_text
from saga_service.definitions.checks.types import reached_cases, tried_with
from saga_service.definitions.expressions.references import Mention, mentions_of
from saga_service.definitions.expressions.static_evaluation import Case, Trials
from saga_service.definitions.outline import Outline, StepOutline, Wrong
from saga_service.definitions.problems import closest
from saga_service.definitions.schema.inputs import Input, at_fault
from saga_service.definitions.schema.json_schema import always_needed, fits_types, may_lack, properties_of, types_of
from saga_service.definitions.schema.samples import TEXT, is_unknown

_CONVERTED_BY = {"integer": "int(...)", "number": "double(...)", "string": "string(...)"}


@dataclass(frozen=True, slots=True)
class _Sending:
    """A child step, its saga, and the saga that it starts."""

    step: StepOutline
    parent: Outline
    child: Outline
    reader: Input
    """What reads the child's input."""

    @property
    def name(self) -> str:
        return f"saga '{self.child.written['name']}'"

    @property
    def needed(self) -> list[str]:
        """The properties without which the child does not begin: what its schema asks for, and its key."""
        key, stored = self.child.written.get("key"), self.reader.stored_schema
        keys = {key} if isinstance(key, str) and may_lack(stored, key, stored) else set()
        return sorted(always_needed(self.reader.schema, self.reader.schema) | keys)

    def lacks(self, name: str, sent: Mapping[str, Any]) -> bool:
        """Whether the child is refused for want of this property: its reader may have another way to it."""
        is_key = name not in always_needed(self.reader.schema, self.reader.schema)
        return name not in sent and (is_key or name in at_fault(self.reader, dict.fromkeys(sent, TEXT)))


def wrong_children(outline: Outline) -> Iterator[Wrong]:
    for step in outline.steps:
        child = child_of(step, outline.family)
        if child is None or child.reader is None:
            continue
        sending = _Sending(step, outline, child, child.reader)
        written = step.written.get("input")
        if isinstance(written, Mapping) and _is_plain(written):
            yield from _wrong_mapping(written, sending)
        elif written is None and outline.reader is not None:
            yield from ((step.path("input"), text) for text in _wrong_whole(outline.reader, sending))


def _is_plain(written: Mapping[Any, Any]) -> bool:
    """What is no JSON is told of elsewhere, and cannot be tried."""
    try:
        orjson.dumps(dict(written))
    except TypeError:
        return False
    return True


# ------------------------------------------------------------------------------------------------------- a mapping


def _wrong_mapping(written: Mapping[str, Any], sending: _Sending) -> Iterator[Wrong]:
    step, reader = sending.step, sending.reader
    for name in sending.needed:
        if sending.lacks(name, written):
            yield step.path("input"), f"lacks '{name}', without which {sending.name} does not begin; write it"
    for name, part in written.items():
        if not reader.takes(name):
            known = list(properties_of(reader.schema))
            hint = closest(name, known) or f"; its input's properties: {', '.join(known)}"
            yield step.path("input", name), f"is nothing that {sending.name} takes{hint}"
        elif name in reader.stored:
            yield from ((step.path("input", name), text) for text in _wrong_part(name, part, sending))


def _wrong_part(name: str, part: Any, sending: _Sending) -> Iterator[str]:
    """The first value that the child does not take there, of those that may be sent."""
    texts = list(_texts_in(part))
    mentions = [mention for text in texts for mention in mentions_of(text).variables]
    trials = Trials()
    place = Place(sending.step.path("input", name), sending.step, sending.parent)
    reached, _ = reached_cases(texts, place, trials)
    for case, is_certain in reached:
        value = _value(part, case, trials)
        # A constant is sent in whatever case the step comes to be done.
        if (is_certain or not mentions) and _is_refused(name, value, sending, is_constant=not mentions):
            yield f"{_given(name, value, sending)}{tried_with(mentions, case)}"
            return


def _texts_in(part: Any) -> Iterator[str]:
    match part:
        case str():
            yield part
        case Mapping():
            for inner in part.values():
                yield from _texts_in(inner)
        case list():
            for inner in part:
                yield from _texts_in(inner)


def _value(part: Any, case: Case, trials: Trials) -> Any:
    match part:
        case str():
            return trials.json_value(part, case)
        case Mapping():
            return {name: _value(inner, case, trials) for name, inner in part.items()}
        case list():
            return [_value(inner, case, trials) for inner in part]
        case _:
            return part


def _is_refused(name: str, value: Any, sending: _Sending, *, is_constant: bool) -> bool:
    """Of a value that is made up, only the types count."""
    if is_unknown(value) or name not in at_fault(sending.reader, {name: value}):
        return False
    return is_constant or not _has_right_types(name, value, sending)


def _has_right_types(name: str, value: Any, sending: _Sending) -> bool:
    schema = sending.reader.schema
    return fits_types(value, properties_of(schema).get(name), schema)


def _given(name: str, value: Any, sending: _Sending) -> str:
    schema = sending.reader.schema
    allowed = sorted(types_of(properties_of(schema).get(name), schema))
    if not allowed or _has_right_types(name, value, sending):
        return f"gives {json_text(value)}, which {sending.name} does not take there"
    converted = _CONVERTED_BY.get(allowed[0]) if len(allowed) == 1 and value is not None else None
    hint = f"; write {converted}" if converted else ""
    return f"gives {json_text(value)}, and {sending.name} takes {' or '.join(allowed)} there{hint}"


# --------------------------------------------------------------------------------------------- the saga's own input


def _wrong_whole(own: Input, sending: _Sending) -> Iterator[str]:
    """What is sent where there is no mapping."""
    told = f"is missing: the saga's own input is sent, and {sending.name}"
    for name in sending.needed:
        if not own.keeps_more and sending.lacks(name, own.stored):
            yield f"{told} does not begin without '{name}', which that has not; write a mapping"
        elif name in own.stored and may_lack(own.stored_schema, name, own.stored_schema):
            yield f"{told} does not begin without '{name}', which may be missing there; write a mapping"
    for name in own.stored:
        if not sending.reader.takes(name) and not may_lack(own.stored_schema, name, own.stored_schema):
            yield f"{told} does not take '{name}', which that has; write a mapping"
        elif name in sending.reader.stored:
            for text in _wrong_part(name, str(Mention("input", (name,))), sending):
                yield f"{told} does not take its '{name}', which {text}; write a mapping"
