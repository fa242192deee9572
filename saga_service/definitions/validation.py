"""The way from what an author wrote to a saga that can be driven, or to every problem that it has."""

from __future__ import annotations

from saga_service.core.definition import StepDefinition
from saga_service.core.retry import RetryPolicy
from saga_service.core.vocabulary import Task
from saga_service.definitions.authoring import Saga
from saga_service.definitions.checks import CHECKS
from saga_service.definitions.checks.texts import check_texts
from saga_service.definitions.document import (
    DefinedSaga,
    StreamTrigger,
    definition_from_document,
    definition_to_document,
)
from saga_service.definitions.expressions.cel import condition, input_mapping
from saga_service.definitions.keywords import TASK_KEYWORDS, task_of
from saga_service.definitions.model import RetryModel, SagaModel, StepModel, read_model
from saga_service.definitions.outline import Outline, outline_of
from saga_service.definitions.problems import DefinitionErrors, Problem, SagaSource, shown
from saga_service.definitions.schema.inputs import Input
from saga_service.definitions.schema.outputs import OutputSchema
from saga_service.definitions.sources.python import source_of
from saga_service.wire.business_keys import KeyForm


def check_saga(saga: Saga) -> DefinedSaga:
    """One saga as it would be loaded, for an author's own test. Raises DefinitionErrors."""
    spec, problems = check(source_of(saga))
    if spec is None:
        raise DefinitionErrors(problems)
    return spec


def check(source: SagaSource, outline: Outline | None = None) -> tuple[DefinedSaga | None, list[Problem]]:
    """The saga, or every problem that it has by itself and with the sagas that its outline knows."""
    content = source.content
    if not isinstance(content, dict):
        text = f"must be a mapping with 'name' and 'steps', but is {shown(content)}; write each saga as a document"
        return None, [source.problem((), text)]
    if unstorable := list(check_texts(content)):
        # Everything else would stumble over these texts too, in words of its own.
        return None, [source.problem(path, text) for path, text in unstorable]
    outline = outline or outline_of(content)
    model, violations = read_model(outline.content)
    violations += [each for check_one in CHECKS for each in check_one(outline)]
    if violations or model is None or outline.reader is None:
        in_order = sorted(violations, key=lambda each: source.line_of(each[0]))
        return None, [source.problem(path, text) for path, text in in_order]
    spec = _spec(model, outline, outline.reader, source)
    # The schema of a model is not in what the author wrote.
    problems = [source.problem(path, text) for path, text in check_texts(spec.document)]
    return (None, problems) if problems else (spec, [])


def _spec(model: SagaModel, outline: Outline, reader: Input, source: SagaSource) -> DefinedSaga:
    steps = tuple(_step(step, each.output_schema) for step, each in zip(model.steps, outline.steps, strict=True))
    document = definition_to_document(
        model.name, steps, reader.schema, model.key, deadline_ms=model.deadline, undo=model.undo
    )
    descriptions = _descriptions(model)
    event_types = [trigger.event_type for trigger in model.triggers if trigger.event_type is not None]
    return DefinedSaga(
        # The definition is read back from the document that Postgres keeps, and not taken from the steps above. So a
        # saga is driven in the same way by the replica that deployed it and by one that only has the stored document.
        definition=definition_from_document(document),
        input=reader,
        key=model.key,
        event_types=(model.name, *event_types),
        streams=tuple(StreamTrigger(each.stream, each.group) for each in model.triggers if each.stream is not None),
        document={**document, "descriptions": descriptions} if descriptions else document,
        place=source.place_of(()),
        key_form=KeyForm(document["key_form"]),
    )


def _descriptions(model: SagaModel) -> dict[str, str | dict[str, str]]:
    """The author's texts for people. They stand beside the document's version, which does not change with them."""
    of_steps = {step.name: step.description for step in model.steps if step.description}
    return ({"saga": model.description} if model.description else {}) | ({"steps": of_steps} if of_steps else {})


def _step(step: StepModel, output: OutputSchema | None) -> StepDefinition:
    task = task_of(step.model_dump(include=set(TASK_KEYWORDS))) or Task.COMMAND
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
        on_error=step.on_error,
        probe=step.probe,
        compensation_retry=_policy(step.compensation_retry),
        compensation_timeout_ms=step.compensation_timeout,
        default=step.default,
        output=output,
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
