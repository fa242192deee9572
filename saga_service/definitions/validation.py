"""From what was written to a saga that can be driven, or to all that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from saga_service.core.definition import StepDefinition
from saga_service.core.retry import RetryPolicy
from saga_service.core.vocabulary import Task
from saga_service.definitions.authoring import Saga, as_written
from saga_service.definitions.checks import RULES
from saga_service.definitions.document import definition_from_document, definition_to_document
from saga_service.definitions.expressions.cel import condition, input_mapping
from saga_service.definitions.keywords import TASK_WORDS, task_of
from saga_service.definitions.model import RetryModel, SagaModel, StepModel, read_model
from saga_service.definitions.outline import Outline, Wrong, outline_of
from saga_service.definitions.problems import DefinitionErrors, Problem, shown
from saga_service.definitions.saga_spec import DefinedSaga, StreamTrigger
from saga_service.definitions.schema.inputs import Input
from saga_service.definitions.schema.json_schema import types_of
from saga_service.definitions.schema.outputs import SchemaShape
from saga_service.definitions.sources.positions import Written, mappings


def check_saga(saga: Saga) -> DefinedSaga:
    """One saga as it would be loaded, for a test of one's own. Raises DefinitionErrors."""
    spec, problems = check(Written(as_written(saga), f"saga {shown(saga.name)}"))
    if spec is None:
        raise DefinitionErrors(problems)
    return spec


def check(written: Written, outline: Outline | None = None) -> tuple[DefinedSaga | None, list[Problem]]:
    """The saga, or every problem that it has by itself, and with the sagas that its outline knows."""
    content = written.content
    if not isinstance(content, dict):
        text = f"must be a mapping with 'name' and 'steps', but is {shown(content)}; write each saga as a document"
        return None, [written.problem((), text)]
    model, wrong = read_model(content)
    outline = outline or outline_of(content)
    wrong += [each for rule in RULES for each in rule(outline)]
    wrong += _repeated_steps(content)
    wrong += _repeated_triggers(content)
    wrong += _misplaced_key(content, outline.reader)
    if wrong or model is None or outline.reader is None:
        in_order = sorted(wrong, key=lambda each: written.line_of(each[0]))
        return None, [written.problem(path, text) for path, text in in_order]
    return _spec(model, outline, outline.reader, written), []


def _repeated_steps(content: dict[str, Any]) -> Iterator[Wrong]:
    first: dict[str, int] = {}
    for position, step in enumerate(mappings(content.get("steps"))):
        name = step.get("name")
        if isinstance(name, str) and first.setdefault(name, position) != position:
            yield ("steps", position, "name"), f"is {shown(name)}, as is steps[{first[name]}].name; rename one"


def _repeated_triggers(content: dict[str, Any]) -> Iterator[Wrong]:
    seen: set[tuple[str, str]] = {("event_type", str(content.get("name")))}
    for position, trigger in enumerate(mappings(content.get("triggers"))):
        for word in ("event_type", "stream"):
            value = trigger.get(word)
            if not isinstance(value, str):
                continue
            if (word, value) in seen:
                text = f"is {shown(value)}, which starts this saga already; leave this trigger out"
                yield ("triggers", position, word), text
            seen.add((word, value))


def _misplaced_key(content: dict[str, Any], reader: Input | None) -> Iterator[Wrong]:
    key = content.get("key")
    properties = _named_properties(content) if reader is None else reader.stored
    if not isinstance(key, str) or properties is None:
        return
    if key not in properties:
        yield (
            ("key",),
            f"must be a property of the input, but is {shown(key)}; {_likely(key, properties)}",
        )
        return
    if reader is None:
        return
    allowed = types_of(reader.stored[key], reader.schema)
    if allowed and not allowed & {"string", "integer"}:
        yield ("key",), f"must be a property with text or a whole number, but {shown(key)} is {', '.join(allowed)}"


def _named_properties(content: dict[str, Any]) -> Mapping[str, Any] | None:
    """The properties of a schema that is wrong; None where others may come from elsewhere in it."""
    schema = content.get("input")
    if not isinstance(schema, Mapping) or not schema.keys().isdisjoint(("$ref", "allOf", "anyOf", "oneOf")):
        return None
    properties = schema.get("properties")
    return properties if isinstance(properties, Mapping) else None


def _likely(key: str, properties: Mapping[str, Any]) -> str:
    # In Python a key may be anything; that is told of where the schema is.
    names = [str(name) for name in properties]
    close = get_close_matches(key, names, n=1)
    return f"did you mean '{close[0]}'?" if close else f"the input's properties: {', '.join(names) or 'none'}"


def _spec(model: SagaModel, outline: Outline, reader: Input, written: Written) -> DefinedSaga:
    steps = tuple(_step(step, each.shape) for step, each in zip(model.steps, outline.steps, strict=True))
    document = definition_to_document(
        model.name, steps, reader.schema, model.key, deadline_ms=model.deadline, undo=model.undo
    )
    event_types = [trigger.event_type for trigger in model.triggers if trigger.event_type is not None]
    return DefinedSaga(
        definition=definition_from_document(document),
        input=reader,
        key=model.key,
        event_types=(model.name, *event_types),
        streams=tuple(StreamTrigger(each.stream, each.group) for each in model.triggers if each.stream is not None),
        document=document,
        place=written.place_of(()),
    )


def _step(step: StepModel, shape: SchemaShape | None) -> StepDefinition:
    task = task_of(step.model_dump(include=set(TASK_WORDS))) or Task.COMMAND
    return StepDefinition(
        name=step.name,
        task=task,
        action=step.action or step.signal or step.saga or "",
        compensation=step.compensation,
        after=step.after,
        when=None if step.when is None else condition(step.when),
        input=None if step.input is None else input_mapping(step.input),
        kind=step.kind,
        retry=_policy(step.retry),
        timeout_ms=step.timeout if step.sleep is None else step.sleep,
        heartbeat_ms=step.heartbeat,
        on_unknown=step.on_unknown,
        probe=step.probe,
        compensation_retry=_policy(step.compensation_retry),
        compensation_timeout_ms=step.compensation_timeout,
        default=step.default,
        output=shape,
    )


def _policy(retry: RetryModel) -> RetryPolicy:
    return RetryPolicy(
        attempts_max=retry.attempts,
        delay_first_ms=retry.first_delay,
        delay_factor=retry.factor,
        delay_max_ms=retry.max_delay,
        never_retry=retry.never,
        jitter=retry.jitter,
        budget_ms=retry.budget,
    )
