"""A parent, its child sagas and theirs, with what they tell each other lost, repeated and out of order: in the end
they agree."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from saga_service.core.advance import advance
from saga_service.core.definition import TOMBSTONE, Definition, tombstone
from saga_service.core.effects import ChildRequest, Command, ParentReply, Transition
from saga_service.core.events import Event, OperationRequested, Replied, Started, TimerDue, TransportLost
from saga_service.core.ids import CommandName, SagaId
from saga_service.core.retry import RetryPolicy
from saga_service.core.state import Fault, SagaState
from saga_service.core.vocabulary import (
    ENDED,
    ChildOperation,
    Course,
    OnUnknown,
    Operation,
    Outcome,
    Resolution,
    SagaStatus,
    StepStatus,
    Task,
)
from tests.property.laws import every_law
from tests.support.builders import START_MS, child, definition, started, step

TWICE = RetryPolicy(attempts_max=2, delay_first_ms=10)
GRANDCHILD = definition("open", "lift", name="unloading")
children = st.one_of(
    st.just(definition("drive", "unload", name="delivery")),
    st.builds(
        lambda on_unknown: definition(
            "drive", child("unload", "unloading", retry=TWICE, on_unknown=on_unknown), "sign", name="delivery"
        ),
        st.sampled_from(OnUnknown),
    ),
)
parents = st.builds(
    lambda on_unknown, first: definition(
        *(["reserve"] if first else []),
        child("deliver", retry=TWICE, on_unknown=on_unknown, after=None if first else ()),
        step("charge", after=("deliver",)),
        step("note", after=()),
    ),
    st.sampled_from(OnUnknown),
    st.booleans(),
)
choices = st.lists(st.integers(0, 2**16 - 1), max_size=60)
OUTCOMES = [Outcome.SUCCEEDED, Outcome.SUCCEEDED, Outcome.SUCCEEDED, Outcome.FAILED, Outcome.REJECTED]


@given(parent=parents, child_saga=children, picks=choices)
def test_a_parent_and_its_children_agree_in_the_end(
    parent: Definition, child_saga: Definition, picks: list[int]
) -> None:
    family = Family(parent, child_saga, GRANDCHILD)
    for pick in picks:
        family.something_happens(pick)
    family.all_is_delivered()
    family.they_agree()


class Family:
    """Sagas by id, and everything that is on its way to one of them, or to a worker."""

    def __init__(self, parent: Definition, *others: Definition) -> None:
        self.definitions = {defined.name: defined for defined in (parent, *others)}
        self.now_ms = START_MS
        self.states: dict[SagaId, SagaState] = {}
        self.children_of: dict[SagaId, set[SagaId]] = {}
        self.on_their_way: list[Event] = []
        self.work: list[Command] = []
        self.apply(started(parent))

    def definition_of(self, saga: SagaState | Started | OperationRequested) -> Definition:
        if isinstance(saga, OperationRequested):
            return tombstone(saga.child)
        return tombstone(saga.saga) if saga.version == TOMBSTONE else self.definitions[saga.saga]

    def apply(self, event: Event) -> None:
        before = self.states.get(event.saga_id)
        if before is not None:
            defined = self.definition_of(before)
        elif isinstance(event, Started | OperationRequested):
            defined = self.definition_of(event)
        else:
            return  # It refers to nobody.
        transition = advance(defined, before, event, self.now_ms)
        if transition.state is not None:
            self.states[event.saga_id] = transition.state
            defined = self.definition_of(transition.state)
        every_law(defined, before, event, transition)
        self.send(transition)

    def send(self, transition: Transition) -> None:
        for sent in transition.commands:
            if isinstance(sent, ChildRequest):
                self.children_of.setdefault(sent.command.saga_id, set()).add(sent.child_id)
                self.on_their_way.append(self.as_event(sent))
            else:
                self.work.append(sent)
        if transition.reply is not None:
            self.on_their_way.append(_as_reply(transition.reply))

    def something_happens(self, pick: int) -> None:
        kinds: list[Callable[[int], None]] = [self.deliver, self.deliver, self.answer, self.answer, self.pass_time]
        rare: list[Callable[[int], None]] = [self.repeat, self.cancel, self.lose_one, self.lose_all]
        (kinds * 3 + rare)[pick % 19](pick // 19)

    def deliver(self, pick: int) -> None:
        if self.on_their_way:
            self.apply(self.on_their_way.pop(pick % len(self.on_their_way)))

    def repeat(self, pick: int) -> None:
        if self.on_their_way:
            self.apply(self.on_their_way[pick % len(self.on_their_way)])

    def lose_one(self, pick: int) -> None:
        """As a failover of Redis loses it: nobody is told."""
        if self.on_their_way:
            self.on_their_way.pop(pick % len(self.on_their_way))

    def lose_all(self, _: int) -> None:
        self.on_their_way.clear()
        self.work.clear()
        for state in self.known():
            if state.wake_at_ms is not None or state.status in (SagaStatus.STUCK, SagaStatus.PAUSED):
                self.apply(TransportLost(state.id))

    def answer(self, pick: int) -> None:
        if self.work:
            command = self.work.pop(pick % len(self.work))
            self._answer(command, OUTCOMES[pick // 7 % len(OUTCOMES)])

    def _answer(self, command: Command, outcome: Outcome) -> None:
        name = CommandName(command.saga_id, command.step, command.direction, command.attempt)
        fault = None if outcome is Outcome.SUCCEEDED else Fault("failed", "said so")
        self.apply(Replied(name, outcome, {"done": True}, fault))

    def pass_time(self, pick: int) -> None:
        known = [state for state in self.known() if state.wake_at_ms is not None]
        if known:
            state = known[pick % len(known)]
            self.now_ms = max(self.now_ms, state.wake_at_ms or 0)
            self.apply(TimerDue(state.id))

    def cancel(self, pick: int) -> None:
        ids = list(self.states)
        self.apply(OperationRequested(saga_id=ids[pick % len(ids)], operation=Operation.CANCEL, actor="ada"))

    # ------------------------------------------------------------------------------------------------ how it ends

    def all_is_delivered(self) -> None:
        for _ in range(300):
            if self.on_their_way:
                self.deliver(0)
            elif self.work:
                self._answer(self.work.pop(0), Outcome.SUCCEEDED)
            elif not self.time_brings_something() and not self.a_person_helps():
                return
        raise AssertionError("they never come to rest")

    def a_person_helps(self) -> bool:
        # A child first: its parent may only wait for it.
        for state in reversed(self.known()):
            for each in state.steps if state.status is SagaStatus.STUCK else ():
                if each.status is StepStatus.COMPENSATION_FAILED:
                    self.apply(
                        OperationRequested(saga_id=state.id, operation=Operation.RETRY, actor="ada", step=each.name)
                    )
                    return True
                if state.course is Course.BACKWARD:
                    continue
                position = self.definition_of(state).positions[each.name]
                is_child = self.definition_of(state).steps[position].task is Task.CHILD
                if each.status is StepStatus.UNKNOWN and each.due is None and is_child:
                    # Its answer may be lost; with what a person may ask of it, it is asked again.
                    self.apply(
                        OperationRequested(saga_id=state.id, operation=Operation.RETRY, actor="ada", step=each.name)
                    )
                    return True
                if each.status is StepStatus.UNKNOWN and each.due is None:
                    asked = OperationRequested(
                        saga_id=state.id,
                        operation=Operation.RESOLVE,
                        actor="ada",
                        step=each.name,
                        resolution=Resolution.SUCCEEDED,
                    )
                    self.apply(asked)
                    return True
        return False

    def time_brings_something(self) -> bool:
        """To each in its time: the earliest first."""
        due = [(state.wake_at_ms, state.id) for state in self.known() if state.wake_at_ms is not None]
        if due:
            wake_at_ms, saga_id = min(due)
            self.now_ms = max(self.now_ms, wake_at_ms)
            self.apply(TimerDue(saga_id))
        return bool(due)

    def known(self) -> list[SagaState]:
        return list(self.states.values())

    def they_agree(self) -> None:
        assert all(state.status in ENDED for state in self.known()), "every saga ends"
        for parent_id, child_ids in self.children_of.items():
            there = [self.states[child_id] for child_id in child_ids if child_id in self.states]
            completed = [state for state in there if state.status is SagaStatus.COMPLETED]
            assert len(completed) == (self.states[parent_id].status is SagaStatus.COMPLETED), (
                "a completed parent has one completed child, and one that is undone has none"
            )

    def as_event(self, request: ChildRequest) -> Event:
        if request.operation is ChildOperation.START:
            version = self.definitions[request.saga].version
            return Started(request.child_id, request.saga, version, None, request.input, None, request.command)
        operation = Operation.CANCEL if request.operation is ChildOperation.CANCEL else Operation.COMPENSATE
        return OperationRequested(
            saga_id=request.child_id,
            operation=operation,
            actor="parent",
            answers=request.command,
            child=request.saga,
            is_known_done=request.is_known_done,
        )


def _as_reply(reply: ParentReply) -> Event:
    return Replied(reply.command, reply.outcome, reply.output, reply.fault)
