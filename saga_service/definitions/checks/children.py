"""Check that what a child saga is sent fits the child's own input, as far as both are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from saga_service.base.similar_names import closest_or_all
from saga_service.definitions.checks.sample_cases import child_of
from saga_service.definitions.checks.types import Place, json_text, reached_cases, tried_with
from saga_service.definitions.expressions.references import Reference, references_of
from saga_service.definitions.expressions.static_evaluation import SampleCase, StaticEvaluation
from saga_service.definitions.outline import Outline, StepOutline
from saga_service.definitions.problems import Violation
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
    """Reads the child's input."""

    @property
    def name(self) -> str:
        return f"saga '{self.child.content['name']}'"

    @property
    def needed(self) -> list[str]:
        """The properties without which the child does not begin: those that its schema requires, and its key."""
        key, stored = self.child.content.get("key"), self.reader.stored_schema
        keys = {key} if isinstance(key, str) and may_lack(stored, key, stored) else set()
        return sorted(always_needed(self.reader.schema, self.reader.schema) | keys)

    def lacks(self, name: str, sent: Mapping[str, Any]) -> bool:
        """True if the child is refused for want of this property. Its reader may know it by another name."""
        is_key = name not in always_needed(self.reader.schema, self.reader.schema)
        return name not in sent and (is_key or name in at_fault(self.reader, dict.fromkeys(sent, TEXT)))


def check_children(outline: Outline) -> Iterator[Violation]:
    """Each child saga gets what it requires, takes all that it gets, and gets it in the right types."""
    for step in outline.steps:
        child = child_of(step, outline.sagas_by_name)
        if child is None or child.reader is None:
            continue
        sending = _Sending(step, outline, child, child.reader)
        written = step.content.get("input")
        if isinstance(written, Mapping) and _is_plain(written):
            yield from _mapping_violations(written, sending)
        elif written is None and outline.reader is not None:
            yield from ((step.path("input"), text) for text in _whole_input_problems(outline.reader, sending))


def _is_plain(written: Mapping[Any, Any]) -> bool:
    """True if this is JSON. What is none is reported by another check, and cannot be evaluated."""
    try:
        orjson.dumps(dict(written))
    except TypeError:
        return False
    return True


def _mapping_violations(written: Mapping[str, Any], sending: _Sending) -> Iterator[Violation]:
    step, reader = sending.step, sending.reader
    for name in sending.needed:
        if sending.lacks(name, written):
            yield step.path("input"), f"lacks '{name}', without which {sending.name} does not begin; write it"
    for name, part in written.items():
        if not reader.takes(name):
            known = list(properties_of(reader.schema))
            hint = closest_or_all(name, known, "its input's properties")
            yield step.path("input", name), f"is nothing that {sending.name} takes{hint}"
        elif name in reader.stored:
            yield from ((step.path("input", name), text) for text in _part_problems(name, part, sending))


def _part_problems(name: str, part: Any, sending: _Sending) -> Iterator[str]:
    """The first value that may be sent there and that the child does not take."""
    texts = list(_texts_in(part))
    references = [reference for text in texts for reference in references_of(text).variables]
    evaluation = StaticEvaluation()
    place = Place(sending.step.path("input", name), sending.step, sending.parent)
    reached, _ = reached_cases(texts, place, evaluation)
    for case, is_certain in reached:
        value = _value(part, case, evaluation)
        # A constant is sent in whatever case the step comes to be done.
        if (is_certain or not references) and _is_refused(name, value, sending, is_constant=not references):
            yield f"{_given(name, value, sending)}{tried_with(references, case)}"
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


def _value(part: Any, case: SampleCase, evaluation: StaticEvaluation) -> Any:
    match part:
        case str():
            return evaluation.json_value(part, case)
        case Mapping():
            return {name: _value(inner, case, evaluation) for name, inner in part.items()}
        case list():
            return [_value(inner, case, evaluation) for inner in part]
        case _:
            return part


def _is_refused(name: str, value: Any, sending: _Sending, *, is_constant: bool) -> bool:
    """True if the child refuses the value. Of a sample value only the types count."""
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


def _whole_input_problems(own: Input, sending: _Sending) -> Iterator[str]:
    """Where there is no mapping, the saga's own input is sent."""
    text = f"is missing: the saga's own input is sent, and {sending.name}"
    for name in sending.needed:
        if not own.keeps_more and sending.lacks(name, own.stored):
            yield f"{text} does not begin without '{name}', which that has not; write a mapping"
        elif name in own.stored and may_lack(own.stored_schema, name, own.stored_schema):
            yield f"{text} does not begin without '{name}', which may be missing there; write a mapping"
    for name in own.stored:
        if not sending.reader.takes(name) and not may_lack(own.stored_schema, name, own.stored_schema):
            yield f"{text} does not take '{name}', which that has; write a mapping"
        elif name in sending.reader.stored:
            for problem in _part_problems(name, str(Reference("input", (name,))), sending):
                yield f"{text} does not take its '{name}', which {problem}; write a mapping"
