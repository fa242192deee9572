"""The names that a script may be for. Of one that nobody sends a test would believe that it was answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from saga_service.core.definition import Definition, StepDefinition
from saga_service.core.vocabulary import Task
from saga_service.definitions.problems import closest


class SentNames:
    """What the steps of these definitions send: commands, and child sagas by their names."""

    def __init__(self, definitions: Iterable[Definition]) -> None:
        self._steps_by_name: dict[str, list[str]] = {}
        self._signals: set[str] = set()
        for definition in definitions:
            self._signals.update(definition.signals)
            for step in definition.steps:
                for name in _sent_by(step):
                    self._steps_by_name.setdefault(name, []).append(step.name)

    def check(self, name: str, step: str | None) -> None:
        """Raises ValueError where nobody sends it, or not for this step."""
        steps = self._steps_by_name.get(name)
        if steps is None:
            raise ValueError(self._unknown(name))
        if step is not None and step not in steps:
            raise ValueError(
                f"'{name}' is not sent for a step '{step}', but for: {_listed(steps)}{closest(step, steps)}"
            )

    def _unknown(self, name: str) -> str:
        if name in self._signals:
            return f"'{name}' is a signal, which nobody answers; give it by sim.signal(saga, '{name}')"
        known = list(self._steps_by_name)
        return f"no saga of this simulation sends '{name}'; sent are: {_listed(known)}{closest(name, known)}"


def _sent_by(step: StepDefinition) -> Iterator[str]:
    if step.task in (Task.COMMAND, Task.CHILD):
        yield step.action
    yield from (name for name in (step.compensation, step.probe) if name is not None)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(names)) or "nothing"
