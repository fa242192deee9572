"""Every way in which one step of a saga fails, for one parametrized test over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from saga_service.core.definition import Definition, StepDefinition
from saga_service.core.vocabulary import Task
from saga_service.definitions.catalog import Catalog
from saga_service.definitions.document import DefinedSaga
from saga_service.testing.catalogs import Source, catalog_of
from saga_service.testing.failure_run import NEEDS_WAY_BACK, FailureRun, Way
from saga_service.testing.saga import SimulatedSaga
from saga_service.testing.simulation import Data, Simulation
from saga_service.worker.worker import Worker

_WAYS: dict[Task, tuple[Way, ...]] = {
    Task.COMMAND: (
        Way.FAILS,
        Way.IS_REJECTED,
        Way.TIMES_OUT,
        Way.LOSES_ITS_REPLIES,
        Way.IS_CANCELLED,
        Way.UNDO_FAILS,
    ),
    # A child that has not ended is waited for without a time-out, and its own steps are listed too.
    Task.CHILD: (Way.FAILS, Way.IS_CANCELLED),
    Task.SIGNAL: (Way.NEVER_COMES, Way.IS_CANCELLED),
    Task.SLEEP: (Way.IS_CANCELLED,),
}


@dataclass(frozen=True, slots=True)
class StepFailure:
    """A failure of one step, while every other step succeeds.

    Its text, such as `charge times out`, or `refund/pay fails` for a step of a child saga, makes a good test id.
    """

    catalog: Catalog
    saga: str
    """The topmost saga, which `run` starts."""
    path: tuple[str, ...]
    """The names of the steps from the topmost saga down to the one that fails."""
    how: Way

    @property
    def step(self) -> str:
        """The name of the step that fails, of the saga or of one of its children."""
        return self.path[-1]

    def run(
        self,
        data: Data | None = None,
        *,
        workers: Iterable[Worker] = (),
        signals: Mapping[str, Data] | None = None,
        outputs: Mapping[str, Data] | None = None,
        connection: Any = None,
        jitter: bool = False,
    ) -> SimulatedSaga:
        """The saga, run until nothing is left to happen.

        `signals` are given to each saga that waits for them, at its start. `outputs`, by the action's name, stand in
        the place of a handler's, or of an example of what the step declares. Transactional handlers get `connection`.

        Raises Refused, NoOutput, and NotReached where the step never begins with this data: nothing was tested then.
        """
        sim = Simulation(self.catalog, workers, jitter=jitter, connection=connection)
        for name, output in (outputs or {}).items():
            sim.on(name).succeeds(output).always()
        run = FailureRun(sim, self._definitions(), self.path, self.how)
        run.write_script(outputs or {})
        return run.to_its_end(sim.start(self.saga, data), signals or {})

    def _definitions(self) -> list[Definition]:
        """The definitions that have the steps of the path, from the topmost one down."""
        found = [_spec(self.catalog, self.saga).definition]
        for name in self.path[:-1]:
            child = found[-1].steps[found[-1].positions[name]].action
            found.append(_spec(self.catalog, child).definition)
        return found

    def __str__(self) -> str:
        return f"{'/'.join(self.path)} {self.how.value}"


def every_failure(sagas: Source, saga: str | None = None) -> list[StepFailure]:
    """Every step of the saga, and of its child sagas, with every way in which it can fail, in the order of the steps.

        @pytest.mark.parametrize("failure", every_failure(order), ids=str)
        def test_no_failure_leaves_anything_behind(failure: StepFailure) -> None:
            assert failure.run({"order_id": "A-1"}).outstanding == []

    `saga` names one of several sagas; without it the first is taken. Raises DefinitionErrors, and KeyError for an
    unknown name.
    """
    catalog = catalog_of(sagas, jitter=True)
    spec = catalog.specs()[0] if saga is None else _spec(catalog, saga)
    places = _places(catalog, spec.definition, frozenset())
    return [StepFailure(catalog, spec.name, path, how) for path, ways in places for how in ways]


def _places(
    catalog: Catalog, definition: Definition, above: frozenset[str]
) -> Iterator[tuple[tuple[str, ...], list[Way]]]:
    """The path of each step, and its ways to fail. A saga among its own children is listed once."""
    for position, step in enumerate(definition.steps):
        can_turn_back = _can_turn_back(definition, position)
        yield (step.name,), [way for way in _ways(step) if can_turn_back or way not in NEEDS_WAY_BACK]
        child = catalog.by_name(step.action) if step.task is Task.CHILD else None
        if child is not None and child.name not in above | {definition.name}:
            for path, ways in _places(catalog, child.definition, above | {definition.name}):
                yield (step.name, *path), [way for way in ways if can_turn_back or way not in NEEDS_WAY_BACK]


def _ways(step: StepDefinition) -> list[Way]:
    return [way for way in _WAYS[step.task] if way is not Way.UNDO_FAILS or step.compensation is not None]


def _can_turn_back(definition: Definition, position: int) -> bool:
    """Whether the saga surely can be undone once this step has begun."""
    return definition.pivot is None or position in definition.ancestors[definition.pivot]


def _spec(catalog: Catalog, saga: str) -> DefinedSaga:
    spec = catalog.by_name(saga)
    if spec is None:
        known = ", ".join(each.name for each in catalog.specs())
        raise KeyError(f"no saga '{saga}' is given; there are: {known}")
    return spec
