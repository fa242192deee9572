"""A definition as a JSON document, the form in which Postgres keeps every version; and the saga that is made of it.

Any replica can drive any saga to its end by the version that it began with, whatever code is deployed meanwhile.
`DefinedSaga` is a saga that was read and checked: its definition, the reader of its input, and its triggers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from saga_service.core.definition import Definition, Expression, Shape, StepDefinition
from saga_service.core.ids import service_of
from saga_service.core.retry import RetryPolicy
from saga_service.core.state import JsonObject
from saga_service.core.vocabulary import Kind, OnError, OnUnknown, Task, UndoOrder
from saga_service.definitions.expressions.cel import Condition, InputMapping, condition, input_mapping
from saga_service.definitions.problems import shown
from saga_service.definitions.schema.inputs import Input, SchemaInput
from saga_service.definitions.schema.json_schema import canonical_numbers
from saga_service.definitions.schema.keys import key_to_document
from saga_service.definitions.schema.outputs import OutputSchema, output_schema
from saga_service.wire.business_keys import KeyForm, key_text, written_key
from saga_service.wire.saga_spec import KEY_CHARACTERS_MAX, InvalidInput, UnreadableDocument

DOCUMENT_FORMAT = 1
"""The only format that this release writes and reads. A newer one is left to the replicas that can read it."""

DIGEST_OCTETS = 6


def definition_to_document(
    name: str,
    steps: tuple[StepDefinition, ...],
    input_schema: JsonObject,
    key: str | None,
    *,
    deadline_ms: int | None = None,
    undo: UndoOrder = UndoOrder.REVERSE,
) -> dict[str, Any]:
    """The document, with its version in it. The version is a digest of all the rest."""
    document = {
        "format": DOCUMENT_FORMAT,
        "saga": name,
        "key": key,
        **key_to_document(input_schema, key),
        "input": canonical_numbers(input_schema),
        "deadline_ms": deadline_ms,
        "undo": undo.value,
        "steps": [_step_to_document(step, _names_waited_for(step, place, steps)) for place, step in enumerate(steps)],
    }
    return {**document, "version": digest(document)}


def definition_from_document(document: Mapping[str, Any]) -> Definition:
    """The definition that drives a saga. Raises UnreadableDocument."""
    known_format = document.get("format")
    if known_format != DOCUMENT_FORMAT:
        raise UnreadableDocument(
            f"the definition has document format {known_format!r}, and this release reads {DOCUMENT_FORMAT}; "
            "run a release that is at least as new as the one that stored it"
        )
    try:
        return _definition(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableDocument(f"the stored definition is damaged: {type(error).__name__}: {error}") from None


def digest(document: Mapping[str, Any]) -> str:
    """A version for the document: twelve hexadecimal digits that change with any value, and with nothing else."""
    canonical = orjson.dumps(canonical_numbers(document), option=orjson.OPT_SORT_KEYS)
    return blake2b(canonical, digest_size=DIGEST_OCTETS, person=b"saga_definition").hexdigest()


def _names_waited_for(step: StepDefinition, place: int, steps: tuple[StepDefinition, ...]) -> list[str] | None:
    """The names at `after` in one form for one meaning: None for the step before, and several in the saga's order."""
    if step.after is None:
        return None
    in_order = [each.name for each in steps if each.name in step.after]
    step_before = [steps[place - 1].name] if place else []
    return None if in_order == step_before else in_order


def _step_to_document(step: StepDefinition, after: list[str] | None) -> dict[str, Any]:
    return {
        "name": step.name,
        "task": step.task.value,
        "action": step.action,
        "compensation": step.compensation,
        "after": after,
        "when": _condition_to_document(step.when),
        "input": _mapping_to_document(step.input),
        "kind": step.kind.value,
        "retry": _policy_to_document(step.retry),
        "timeout_ms": step.timeout_ms,
        "heartbeat_ms": step.heartbeat_ms,
        "on_unknown": step.on_unknown.value,
        "on_error": step.on_error.value,
        "probe": step.probe,
        "compensation_retry": _policy_to_document(step.compensation_retry),
        "compensation_timeout_ms": step.compensation_timeout_ms,
        "default": None if step.default is None else canonical_numbers(dict(step.default)),
        "output": _output_to_document(step.output),
    }


def _condition_to_document(when: Expression | None) -> str | None:
    match when:
        case None:
            return None
        case Condition():
            return when.text
        case _:
            raise TypeError(f"only a condition in CEL can be stored, and this is {when!r}")


def _mapping_to_document(mapping: Expression | None) -> dict[str, Any] | None:
    match mapping:
        case None:
            return None
        case InputMapping():
            return dict(mapping.written)
        case _:
            raise TypeError(f"only a mapping in CEL can be stored, and this is {mapping!r}")


def _output_to_document(output: Shape | None) -> dict[str, Any] | None:
    match output:
        case None:
            return None
        case OutputSchema():
            return dict(output.schema)
        case _:
            raise TypeError(f"only a JSON Schema can be stored, and this is {output!r}")


def _policy_to_document(policy: RetryPolicy) -> dict[str, Any]:
    return {
        "attempts_max": policy.attempts_max,
        "delay_first_ms": policy.delay_first_ms,
        "delay_factor": canonical_numbers(policy.delay_factor),
        "delay_max_ms": policy.delay_max_ms,
        "never_retry": sorted(policy.never_retry),
        "jitter": policy.jitter,
        "budget_ms": policy.budget_ms,
    }


def _definition(document: Mapping[str, Any]) -> Definition:
    steps = tuple(_step(step) for step in document["steps"])
    undo = UndoOrder(document["undo"])
    return Definition(document["saga"], document["version"], steps, deadline_ms=document["deadline_ms"], undo=undo)


def _step(step: Mapping[str, Any]) -> StepDefinition:
    return StepDefinition(
        name=step["name"],
        task=Task(step["task"]),
        action=step["action"],
        compensation=step["compensation"],
        after=None if step["after"] is None else tuple(step["after"]),
        when=None if step["when"] is None else condition(step["when"]),
        input=None if step["input"] is None else input_mapping(step["input"]),
        kind=Kind(step["kind"]),
        retry=_policy(step["retry"]),
        timeout_ms=step["timeout_ms"],
        heartbeat_ms=step["heartbeat_ms"],
        on_unknown=OnUnknown(step["on_unknown"]),
        on_error=OnError(step["on_error"]),
        probe=step["probe"],
        compensation_retry=_policy(step["compensation_retry"]),
        compensation_timeout_ms=step["compensation_timeout_ms"],
        default=step["default"],
        output=None if step["output"] is None else output_schema(step["output"]),
    )


def _policy(policy: Mapping[str, Any]) -> RetryPolicy:
    return RetryPolicy(
        attempts_max=policy["attempts_max"],
        delay_first_ms=policy["delay_first_ms"],
        delay_factor=float(policy["delay_factor"]),
        delay_max_ms=policy["delay_max_ms"],
        never_retry=frozenset(policy["never_retry"]),
        jitter=policy["jitter"],
        budget_ms=policy["budget_ms"],
    )


ON_RECORD = "on record"
"""The place of a saga that is stored, and not deployed here."""


@dataclass(frozen=True, slots=True)
class StreamTrigger:
    """A stream of others whose entries start the saga, and its consumer group; None for the service's own group."""

    stream: str
    group: str | None


def saga_spec_from_document(document: Mapping[str, Any]) -> DefinedSaga:
    """The stored saga as far as it can be started by its name alone, as a child. Raises UnreadableDocument."""
    definition = definition_from_document(document)
    reader, key_form = SchemaInput(document["input"]), KeyForm(document["key_form"])
    return DefinedSaga(definition, reader, document["key"], (), (), document, ON_RECORD, key_form)


def readable_saga_spec(document: Mapping[str, Any]) -> DefinedSaga | None:
    """The stored saga, as `saga_spec_from_document` reads it; None where this release cannot read it."""
    try:
        return saga_spec_from_document(document)
    except UnreadableDocument:
        return None


@dataclass(frozen=True, slots=True)
class DefinedSaga:
    """A saga that can be started. Fulfils `wire.saga_spec.SagaSpec`."""

    definition: Definition
    input: Input
    key: str | None
    event_types: tuple[str, ...]
    streams: tuple[StreamTrigger, ...]
    document: Mapping[str, Any]
    """The form in which the definition is stored."""
    place: str
    """The file or module that the saga was read from."""
    key_form: KeyForm = KeyForm.TEXT

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def version(self) -> str:
        return self.definition.version

    def read_input(self, data: JsonObject) -> JsonObject:
        return self.input.read_input(data)

    def read_fields(self, fields: Mapping[str, str]) -> JsonObject:
        return self.input.read_fields(fields)

    def business_key(self, data: JsonObject, saga_input: JsonObject) -> str | None:
        """The key of a saga that was started with this data, read as this input; None where its definition names none.

        Raises InvalidInput where the field holds no key, or another one once its schema has read it: by SQL, where no
        schema is read, the data would start another saga.
        """
        if self.key is None:
            return None
        value = saga_input.get(self.key)
        if value is None or value == "":
            raise InvalidInput(f"{self.key}: is missing or empty, and it is the saga's key", (self.key,))
        key = key_text(self.key_form, value)
        if key is None:
            raise InvalidInput(
                f"{self.key}: must be text or a whole number of 64 bits, since it is the saga's key", (self.key,)
            )
        if len(key) > KEY_CHARACTERS_MAX:
            text = f"{self.key}: has {len(key)} characters, and a key may have {KEY_CHARACTERS_MAX}"
            raise InvalidInput(text, (self.key,))
        if self.key in data and key_text(self.key_form, data[self.key]) != key:
            text = f"{self.key}: is the saga's key, and its schema makes {shown(key)} of {shown(data[self.key])}"
            raise InvalidInput(f"{text}; send {shown(key)}", (self.key,))
        return key

    def sent_key(self, data: JsonObject) -> str | None:
        if self.key is None:
            return None
        key = key_text(self.key_form, data[self.key]) if self.key in data else self.document.get("key_default")
        return key if key and len(key) <= KEY_CHARACTERS_MAX else None

    def written_key(self, key: str) -> str:
        return written_key(self.key_form, key)

    def services(self) -> Iterable[str]:
        return services_of(self.definition)


def services_of(definition: Definition) -> Iterable[str]:
    """The services whose workers carry out the saga's commands."""
    for step in definition.steps:
        if step.task is Task.COMMAND:
            commands = (step.action, step.compensation, step.probe)
            yield from (service_of(command) for command in commands if command is not None)
