"""The theory of the state machine, and its tables.

A saga is a row of steps. Each step is at one status, and all that can reach a step is a *stimulus*: a worker's answer
to its action or to its compensation, or one of its own timers. `STEP_RULES` says, for every (status, stimulus) pair,
which rule applies. A rule changes the step; then the saga looks at itself once (`SAGA_TURNS`) and either sends the next
command, turns round, or ends.

    forward     pending -> dispatched -> succeeded, and the next step is sent; after the last one the saga is completed.
    retry       a failed attempt goes back to pending and waits; a timed-out one waits as `unknown`, because it may
                have happened. The next attempt has the same idempotency key.
    give up     out of attempts, or told that it is pointless: `failed`, or `unknown` where any attempt was left
                without an answer. The saga turns to compensating.
    undo        steps that took effect, or may have, are undone one at a time from the highest `finished_order` to the
                lowest. A step without compensation is passed over. With nothing left to undo the saga is compensated.
    stuck       an undo out of its own attempts stops the saga where a person can see it: going past it would break the
                reverse order. A success of that undo that arrives late sets the saga going again.
    late        the success of any earlier attempt is a success of the step. If the step was given up on meanwhile, the
                success is recorded and undone in its turn, even where the saga had ended as compensated.

What reaches a command that was never sent is refused before the table is asked, and so is what only an earlier attempt
failed at: the current attempt decides. So every cell below speaks of a command that is known to have been sent.
"""

from __future__ import annotations

from enum import StrEnum

from saga_service.core.state import SagaStatus, StepStatus


class Stimulus(StrEnum):
    """All that can reach a step."""

    ACTION_SUCCEEDED = "action succeeded"
    ACTION_FAILED = "action failed"
    ACTION_REJECTED = "action rejected"
    ACTION_PROGRESSED = "action progressed"
    ACTION_TIMED_OUT = "action timed out"
    ACTION_RETRY_DUE = "action retry due"
    COMPENSATION_SUCCEEDED = "compensation succeeded"
    COMPENSATION_FAILED = "compensation failed"
    COMPENSATION_REJECTED = "compensation rejected"
    COMPENSATION_PROGRESSED = "compensation progressed"
    COMPENSATION_TIMED_OUT = "compensation timed out"
    COMPENSATION_RETRY_DUE = "compensation retry due"


class Rule(StrEnum):
    """What is done about a stimulus."""

    SUCCEED = "record the result"
    RETRY_FAILED = "wait and try again, or give up as failed"
    RETRY_UNKNOWN = "wait and try again, or give up as unknown"
    GIVE_UP = "give up"
    DISPATCH = "send the next attempt"
    UNDONE = "record the undo"
    RETRY_UNDO = "wait and try the undo again, or get stuck"
    GET_STUCK = "get stuck"
    DISPATCH_UNDO = "send the next attempt of the undo"
    NOTHING = "known already or overtaken: no change"
    NEVER = "cannot be: refused"


_P, _D, _S = StepStatus.PENDING, StepStatus.DISPATCHED, StepStatus.SUCCEEDED
_F, _U, _C = StepStatus.FAILED, StepStatus.UNKNOWN, StepStatus.COMPENSATING
_X, _Z = StepStatus.COMPENSATED, StepStatus.COMPENSATION_FAILED

LEADS_TO: dict[Rule, tuple[StepStatus, ...]] = {
    Rule.SUCCEED: (_S,),
    Rule.RETRY_FAILED: (_P, _U, _F),
    Rule.RETRY_UNKNOWN: (_U,),
    Rule.GIVE_UP: (_F, _U),
    Rule.DISPATCH: (_D,),
    Rule.UNDONE: (_X,),
    Rule.RETRY_UNDO: (_C, _Z),
    Rule.GET_STUCK: (_Z,),
    Rule.DISPATCH_UNDO: (_C,),
    Rule.NOTHING: (),
    Rule.NEVER: (),
}
"""The statuses that each rule can leave a step in."""

_succeed, _nothing, _never = Rule.SUCCEED, Rule.NOTHING, Rule.NEVER
_ACTION_STIMULI = tuple(stimulus for stimulus in Stimulus if stimulus.name.startswith("ACTION"))
_COMPENSATION_STIMULI = tuple(stimulus for stimulus in Stimulus if stimulus.name.startswith("COMPENSATION"))

# fmt: off
_ACTION_RULES: dict[StepStatus, tuple[Rule, ...]] = {
    #    succeeded  failed             rejected      progressed timed out           retry due
    _P: (_succeed,  _nothing,          Rule.GIVE_UP, _nothing,  _never,             Rule.DISPATCH),
    _D: (_succeed,  Rule.RETRY_FAILED, Rule.GIVE_UP, _nothing,  Rule.RETRY_UNKNOWN, _never),
    _S: (_nothing,  _nothing,          _nothing,     _nothing,  _never,             _never),
    _F: (_succeed,  _nothing,          _nothing,     _nothing,  _never,             _never),
    _U: (_succeed,  _nothing,          Rule.GIVE_UP, _nothing,  _never,             Rule.DISPATCH),
    _C: (_nothing,  _nothing,          _nothing,     _nothing,  _never,             _never),
    _X: (_nothing,  _nothing,          _nothing,     _nothing,  _never,             _never),
    _Z: (_nothing,  _nothing,          _nothing,     _nothing,  _never,             _never),
}

_COMPENSATION_RULES: dict[StepStatus, tuple[Rule, ...]] = {
    #    succeeded    failed           rejected        progressed timed out        retry due
    _P: (_never,      _never,          _never,         _never,    _never,          _never),
    _D: (_never,      _never,          _never,         _never,    _never,          _never),
    _S: (_never,      _never,          _never,         _never,    _never,          _never),
    _F: (_never,      _never,          _never,         _never,    _never,          _never),
    _U: (_never,      _never,          _never,         _never,    _never,          _never),
    _C: (Rule.UNDONE, Rule.RETRY_UNDO, Rule.GET_STUCK, _nothing,  Rule.RETRY_UNDO, Rule.DISPATCH_UNDO),
    _X: (_nothing,    _nothing,        _nothing,       _nothing,  _never,          _never),
    _Z: (Rule.UNDONE, _nothing,        _nothing,       _nothing,  _never,          _never),
}
# fmt: on

STEP_RULES: dict[tuple[StepStatus, Stimulus], Rule] = {
    (status, stimulus): rule
    for stimuli, table in ((_ACTION_STIMULI, _ACTION_RULES), (_COMPENSATION_STIMULI, _COMPENSATION_RULES))
    for status, row in table.items()
    for stimulus, rule in zip(stimuli, row, strict=True)
}
"""Total: a rule for every pair."""


class Turn(StrEnum):
    """What a saga finds when it looks at itself after a step has changed."""

    STEP_LEFT = "a step is left to do"
    ALL_DONE = "every step is done"
    GIVEN_UP = "a step was given up on"
    UNDO_LEFT = "an effect is left to undo"
    ALL_UNDONE = "nothing is left to undo"
    UNDO_FAILED = "an undo was given up on"


SAGA_TURNS: dict[tuple[SagaStatus, Turn], SagaStatus] = {
    (SagaStatus.RUNNING, Turn.STEP_LEFT): SagaStatus.RUNNING,
    (SagaStatus.RUNNING, Turn.ALL_DONE): SagaStatus.COMPLETED,
    (SagaStatus.RUNNING, Turn.GIVEN_UP): SagaStatus.COMPENSATING,
    (SagaStatus.COMPENSATING, Turn.UNDO_LEFT): SagaStatus.COMPENSATING,
    (SagaStatus.COMPENSATING, Turn.ALL_UNDONE): SagaStatus.COMPENSATED,
    (SagaStatus.COMPENSATING, Turn.UNDO_FAILED): SagaStatus.STUCK,
    (SagaStatus.COMPENSATED, Turn.UNDO_LEFT): SagaStatus.COMPENSATING,
    (SagaStatus.COMPENSATED, Turn.ALL_UNDONE): SagaStatus.COMPENSATED,
    (SagaStatus.STUCK, Turn.UNDO_FAILED): SagaStatus.STUCK,
    (SagaStatus.STUCK, Turn.UNDO_LEFT): SagaStatus.COMPENSATING,
    (SagaStatus.STUCK, Turn.ALL_UNDONE): SagaStatus.COMPENSATED,
}
"""Where each finding takes a saga. A pair that is not here cannot be found."""
