"""A definition as a JSON document: what Postgres keeps of every version, so that any replica can drive any saga to its
end by the version that it began with, whatever code is deployed meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saga_service.core.definition import Definition, RetryPolicy, StepDefinition
from saga_service.core.state import JsonObject
from saga_service.definitions.digest import canonical_numbers, digest

DOCUMENT_FORMAT = 1


class UnreadableDocument(Exception):
    """The stored document is not one that this release can drive a saga by; the text says what to do."""


def definition_to_document(
    name: str, steps: tuple[StepDefinition, ...], input_schema: JsonObject, key: str | None
) -> dict[str, Any]:
    """The document, its version in it. The version is a digest of all the rest."""
    document = {
        "format": DOCUMENT_FORMAT,
        "saga": name,
        "key": key,
        "input": canonical_numbers(input_schema),
        "steps": [_step_to_document(step) for step in steps],
    }
    return {**document, "version": digest(document)}


def definition_from_document(document: Mapping[str, Any]) -> Definition:
    """What drives a saga. Raises UnreadableDocument."""
    known_format = document.get("format")
    if known_format != DOCUMENT_FORMAT:
        raise UnreadableDocument(
            f"the definition has document format {known_format!r}, and this release reads {DOCUMENT_FORMAT}; "
            "run a release that is at least as new as the one that stored it"
        )
    try:
        steps = tuple(_step_from_document(step) for step in document["steps"])
        return Definition(document["saga"], document["version"], steps)
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableDocument(f"the stored definition is damaged: {type(error).__name__}: {error}") from None


def _step_to_document(step: StepDefinition) -> dict[str, Any]:
    return {
        "name": step.name,
        "action": step.action,
        "compensation": step.compensation,
        "retry": _policy_to_document(step.retry),
        "timeout_ms": step.timeout_ms,
        "compensation_retry": _policy_to_document(step.compensation_retry),
        "compensation_timeout_ms": step.compensation_timeout_ms,
    }


def _step_from_document(step: Mapping[str, Any]) -> StepDefinition:
    return StepDefinition(
        name=step["name"],
        action=step["action"],
        compensation=step["compensation"],
        retry=_policy_from_document(step["retry"]),
        timeout_ms=step["timeout_ms"],
        compensation_retry=_policy_from_document(step["compensation_retry"]),
        compensation_timeout_ms=step["compensation_timeout_ms"],
    )


def _policy_to_document(policy: RetryPolicy) -> dict[str, Any]:
    return {
        "attempts_max": policy.attempts_max,
        "delay_first_ms": policy.delay_first_ms,
        "delay_factor": canonical_numbers(policy.delay_factor),
        "delay_max_ms": policy.delay_max_ms,
        "never_retry": sorted(policy.never_retry),
    }


def _policy_from_document(policy: Mapping[str, Any]) -> RetryPolicy:
    return RetryPolicy(
        attempts_max=policy["attempts_max"],
        delay_first_ms=policy["delay_first_ms"],
        delay_factor=float(policy["delay_factor"]),
        delay_max_ms=policy["delay_max_ms"],
        never_retry=frozenset(policy["never_retry"]),
    )
