"""The catalog of a simulation, from the forms in which a test may have a saga."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from saga_service.core.definition import Definition, StepDefinition
from saga_service.definitions.authoring import Saga
from saga_service.definitions.catalog import Catalog
from saga_service.definitions.document import DefinedSaga
from saga_service.definitions.schema.source import read_input_source
from saga_service.definitions.validation import check_saga

OneSource = Saga | Definition | DefinedSaga | Catalog
Source = OneSource | Iterable[OneSource]
"""A saga as its author wrote it or as it was read, the result of `load_definitions`, or several of these."""


def catalog_of(source: Source, *, jitter: bool) -> Catalog:
    """The sagas of a source. Without `jitter` every wait before a retry is as long as its policy allows.

    Raises DefinitionErrors for a wrong saga, TypeError for a value that is no saga, and ValueError where there is no
    saga or two have one name.
    """
    specs: dict[str, DefinedSaga] = {}
    for spec in _specs(source):
        if spec.name in specs:
            raise ValueError(f"two sagas have the name '{spec.name}'")
        specs[spec.name] = spec if jitter else _without_jitter(spec)
    if not specs:
        raise ValueError("a simulation needs at least one saga")
    return Catalog(specs.values())


def _specs(source: Source) -> Iterator[DefinedSaga]:
    match source:
        case Saga():
            yield check_saga(source)
        case DefinedSaga():
            yield source
        case Definition():
            yield _of_any_input(source)
        case Catalog():
            yield from source.specs()
        case Iterable() if not isinstance(source, str | Mapping):
            for each in source:
                yield from _specs(each)
        case _:
            raise TypeError(
                "what is simulated is a Saga, what load_definitions([...]) gives, or a list of these, but here is a "
                f"'{type(source).__name__}'; workers come second: Simulation(sagas, [worker])"
            )


def _of_any_input(definition: Definition) -> DefinedSaga:
    any_object, _ = read_input_source(None)
    assert any_object is not None, "the schema of no description is valid"
    return DefinedSaga(
        definition=definition,
        input=any_object,
        key=None,
        event_types=(definition.name,),
        streams=(),
        document={},
        place="a test",
    )


def _without_jitter(spec: DefinedSaga) -> DefinedSaga:
    definition = spec.definition
    exact = replace(definition, steps=tuple(_exact(step) for step in definition.steps))
    return replace(spec, definition=exact)


def _exact(step: StepDefinition) -> StepDefinition:
    return replace(
        step,
        retry=replace(step.retry, jitter=False),
        compensation_retry=replace(step.compensation_retry, jitter=False),
    )
