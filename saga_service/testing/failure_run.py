"""The run of one saga in which one step fails: what makes it fail, and what makes sure that it is that step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum

from saga_service.core.definition import Definition
from saga_service.core.state import StepState
from saga_service.core.vocabulary import StepStatus, Task
from saga_service.testing.saga import NotReached, SimulatedSaga
from saga_service.testing.scripts import Script
from saga_service.testing.simulation import Data, Simulation


class Way(StrEnum):
    """One way in which a step fails."""

    FAILS = "fails"
    IS_REJECTED = "is rejected"
    TIMES_OUT = "times out"
    LOSES_ITS_REPLIES = "loses its replies"
    NEVER_COMES = "never comes"
    IS_CANCELLED = "is cancelled"
    UNDO_FAILS = "cannot be undone"


NEEDS_WAY_BACK = frozenset({Way.IS_CANCELLED, Way.UNDO_FAILS})
"""The failures in which the test has the saga undone, which it refuses after its pivot."""
_UNDER_WAY = (StepStatus.DISPATCHED, StepStatus.WAITING)


class FailureRun:
    """One run. `path` has the steps from the topmost saga down to the one that fails; `definitions` have one each."""

    def __init__(self, sim: Simulation, definitions: Sequence[Definition], path: Sequence[str], how: Way) -> None:
        self._sim = sim
        self._path = path
        self._how = how
        self._definition = definitions[-1]
        self._step = self._definition.steps[self._definition.positions[path[-1]]]
        self._signalled: set[SimulatedSaga] = set()

    def write_script(self, outputs: Mapping[str, Data]) -> None:
        """Script the replies by which the step fails. `outputs` are those that the test gives, by action."""
        action, compensation = self._step.action, self._step.compensation
        match self._how:
            case Way.FAILS:
                self._on(action).fails().always()
            case Way.IS_REJECTED:
                self._on(action).rejects().always()
            case Way.TIMES_OUT:
                self._on(action).times_out().always()
            case Way.LOSES_ITS_REPLIES:
                script = self._on(action)
                carried_out = script.succeeds(outputs[action]) if action in outputs else script.handled()
                carried_out.reply_lost().always()
            case Way.UNDO_FAILS:
                assert compensation is not None, "only a step with a compensation has this failure"
                self._on(compensation).fails().always()
            case Way.NEVER_COMES | Way.IS_CANCELLED:
                pass

    def _on(self, name: str) -> Script:
        return self._sim.on(name, step=self._step.name, saga=self._definition.name)

    def to_its_end(self, saga: SimulatedSaga, signals: Mapping[str, Data]) -> SimulatedSaga:
        """Run the saga until nothing is left to happen. Raises NotReached where the step has not failed by then."""
        self._give(signals, saga)
        if self._how in NEEDS_WAY_BACK:
            self._pass_until(saga, signals, lambda: self._is_time_to_turn_back(saga))
            self._turn_back(saga)
        self._pass_until(saga, signals, lambda: False)
        step = self._state(saga)
        if step is None or step.started_at_ms is None:
            raise self._not_reached(saga, "never begins")
        return saga

    def _pass_until(self, saga: SimulatedSaga, signals: Mapping[str, Data], is_met: Callable[[], bool]) -> None:
        """Let time pass until the condition is met or nothing is left to happen, with signals for new children."""
        while not is_met():
            try:
                self._sim.until(saga, lambda: is_met() or any(self._unsignalled(saga)))
            except NotReached:
                return
            self._give(signals, saga)

    def _is_time_to_turn_back(self, saga: SimulatedSaga) -> bool:
        step = self._state(saga)
        if step is None:
            return False
        return step.status in _UNDER_WAY if self._how is Way.IS_CANCELLED else step.status is StepStatus.SUCCEEDED

    def _turn_back(self, saga: SimulatedSaga) -> None:
        if not self._is_time_to_turn_back(saga):
            never = "is never under way" if self._how is Way.IS_CANCELLED else "never succeeds"
            raise self._not_reached(saga, never)
        if self._how is Way.IS_CANCELLED:
            self._sim.cancel(saga, reason=f"{self._path[-1]} is under way")
        else:
            self._sim.compensate(saga, reason=f"{self._path[-1]} has succeeded")

    def _unsignalled(self, saga: SimulatedSaga) -> Iterator[SimulatedSaga]:
        return (each for each in _family(saga) if each not in self._signalled)

    def _give(self, signals: Mapping[str, Data], saga: SimulatedSaga) -> None:
        for each in list(self._unsignalled(saga)):
            self._signalled.add(each)
            for name, data in signals.items():
                if name in each.definition.signals and not self._is_left_out(each, name):
                    self._sim.signal(each, name, data)

    def _is_left_out(self, saga: SimulatedSaga, signal: str) -> bool:
        return self._step.task is Task.SIGNAL and (saga.name, signal) == (self._definition.name, self._step.action)

    def _state(self, saga: SimulatedSaga) -> StepState | None:
        """The state of the step; None while no child saga has it."""
        found: SimulatedSaga | None = saga
        for name in self._path[:-1]:
            found = None if found is None else found.child(name)
        return None if found is None else found.step(self._path[-1])

    def _not_reached(self, saga: SimulatedSaga, what: str) -> NotReached:
        return NotReached(
            f"step '{'/'.join(self._path)}' {what}, so nothing was tested; give data, signals or outputs with which it "
            f"does, or leave this case out\n{saga.timeline()}"
        )


def _family(saga: SimulatedSaga) -> Iterator[SimulatedSaga]:
    yield saga
    for child in saga.children:
        yield from _family(child)
