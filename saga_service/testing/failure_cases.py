"""Every way in which one step of a saga fails, for one parametrized test over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from saga_service.core.definition import StepDefinition
from saga_service.core.vocabulary import Task
from saga_service.definitions.catalog import Catalog
from saga_service.definitions.document import DefinedSaga
from saga_service.testing.catalogs import Source, catalog_of
from saga_service.testing.saga import SimulatedSaga
from saga_service.testing.simulation import Data, Simulation
from saga_service.worker.worker import Worker

FAILS, TIMES_OUT, NEVER_COMES = "fails", "times out", "never comes"

_WAYS: dict[Task, tuple[str, ...]] = {
    Task.COMMAND: (FAILS, TIMES_OUT),
    # A child that has not ended is waited for without a time-out.
    Task.CHILD: (FAILS,),
    Task.SIGNAL: (NEVER_COMES,),
    Task.SLEEP: (),
}


@dataclass(frozen=True, slots=True)
class StepFailure:
    """A failure of one step: every attempt fails, or none is answered, or the step's signal never comes.

    Every other step succeeds. The text of a failure, such as `charge times out`, makes a good test id.
    """

    catalog: Catalog
    saga: str
    step: str
    how: str

    def run(
        self,
        data: Data | None = None,
        *,
        workers: Iterable[Worker] = (),
        signals: Mapping[str, Data] | None = None,
        jitter: bool = False,
    ) -> SimulatedSaga:
        """The saga, run until nothing is left to happen. `signals` are given at its start. Raises Refused."""
        sim, step = Simulation(self.catalog, workers, jitter=jitter), self._defined()
        if self.how == FAILS:
            sim.on(step.action, step=step.name).fails().always()
        elif self.how == TIMES_OUT:
            sim.on(step.action, step=step.name).times_out().always()
        saga = sim.start(self.saga, data)
        for name, signal_data in (signals or {}).items():
            if self.how != NEVER_COMES or name != step.action:
                sim.signal(saga, name, signal_data)
        sim.run()
        return saga

    def _defined(self) -> StepDefinition:
        definition = _spec(self.catalog, self.saga).definition
        return definition.steps[definition.positions[self.step]]

    def __str__(self) -> str:
        return f"{self.step} {self.how}"


def every_failure(sagas: Source, saga: str | None = None) -> list[StepFailure]:
    """Every step of the saga with every way in which it can fail, in the order of the steps.

        @pytest.mark.parametrize("failure", every_failure(order), ids=str)
        def test_no_failure_leaves_anything_behind(failure: StepFailure) -> None:
            assert failure.run({"order_id": "A-1"}).outstanding == []

    `saga` names one of several sagas; without it the first is taken. Raises DefinitionErrors, and KeyError for an
    unknown name.
    """
    catalog = catalog_of(sagas, jitter=True)
    spec = catalog.specs()[0] if saga is None else _spec(catalog, saga)
    return list(_failures(catalog, spec))


def _failures(catalog: Catalog, spec: DefinedSaga) -> Iterator[StepFailure]:
    for step in spec.definition.steps:
        for how in _WAYS[step.task]:
            yield StepFailure(catalog, spec.name, step.name, how)


def _spec(catalog: Catalog, saga: str) -> DefinedSaga:
    spec = catalog.by_name(saga)
    if spec is None:
        known = ", ".join(each.name for each in catalog.specs())
        raise KeyError(f"no saga '{saga}' is given; there are: {known}")
    return spec
