"""A definition as a JSON document: the form in which Postgres keeps every version.

So any replica can drive any saga to its end by the version that it began with, whatever code is deployed meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

from saga_service.core.definition import Definition, Expression, Shape, StepDefinition
from saga_service.core.retry import RetryPolicy
from saga_service.core.state import JsonObject
from saga_service.core.vocabulary import Kind, OnUnknown, Task, UndoOrder
from saga_service.definitions.expressions.cel import Condition, InputMapping, condition, input_mapping
from saga_service.definitions.schema.json_schema import canonical_numbers
from saga_service.definitions.schema.outputs import OutputSchema, output_schema
from saga_service.wire.saga_spec import UnreadableDocument

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
