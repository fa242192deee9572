"""The theory of the state machine, and its tables.

A saga is a graph of steps. Each step is at one status, and all that can reach a step is a *stimulus*: an answer to its
action, to its compensation or to the question whether it happened; one of its own timers; a signal; a person's word.
`STEP_RULES` says, for every (status, stimulus) pair, which rule applies. A rule changes the step; then the saga looks
at itself once, and what it finds (`Finding`) is what it is from then on (`STATUS_OF`).

    forward     pending -> dispatched -> succeeded. A step begins when all that it waits for is done or left out, so
                branches go side by side and joins wait. A condition that does not hold leaves its step out (`skipped`).
                Sleeps and signals are `waiting`. With every step done or left out the saga is completed.
    retry       a failed attempt goes back to pending and waits; a timed-out one waits as `unknown`, because it may
                have happened. The next attempt has the same idempotency key.
    unknown     what a time-out leads to is the author's choice: the next attempt, a question to a worker (a probe: it
                happened, it did not, or nobody can tell), the undo, or a hold until a late reply or a person decides.
    give up     out of attempts or of time, or told that it is pointless: `failed`, or `unknown` where any attempt was
                left without an answer. The saga turns round. It does not where it must not: a retriable step, a pivot
                of which nobody knows, and all that comes after the pivot are parked, and the saga is stuck.
    turn round  nothing more begins and nothing is tried again. What is in flight is awaited until it answers or times
                out, for only then is the order known in which things must be undone.
    undo        steps that took effect, or may have, are undone one at a time from the highest `effect_revision` to the
                lowest (or side by side, where the author said so). A step that a person went on without may have
                happened too. A step without compensation is passed over. With nothing left to undo the saga is
                compensated.
    stuck       a step that is parked, or an undo out of its own attempts, stops the saga where a person can see it.
                What is answered late, or what a person says, sets it going again.
    late        the success of any earlier attempt is a success of the step. If the step was given up on meanwhile, the
                success is recorded and undone in its turn, even where the saga had ended as compensated. An undo that
                was under way when the success came may have come before the effect: another one is sent after it. The
                failure of an attempt that nobody knew of settles that doubt. An effect that a person let stand stays as
                it is.
    deadline    of the saga as a whole: nothing begins after it, and the saga turns round. A pivot in flight is awaited
                first: if it is done the deadline means nothing more, and if it fails it counts then.
    child       a child saga is there until it ends, and its end is the answer. One that takes too long is called off
                and held until it says how it ended; only then may another attempt start another child. One that is
                called off before its start has come never begins: an ended saga takes its place.
    paused      nothing is sent. What comes in is recorded; time goes on for what is in flight.

What reaches a command that was never sent is refused before the table is asked, and so is what only an earlier attempt
failed at: the current attempt decides. So every cell below speaks of a command that is known to have been sent.
"""

from __future__ import annotations

from enum import StrEnum

from saga_service.core.vocabulary import SagaStatus, StepStatus


class Stimulus(StrEnum):
    """All that can reach a step."""

    ACTION_SUCCEEDED = "action succeeded"
    ACTION_FAILED = "action failed"
    ACTION_REJECTED = "action rejected"
    ACTION_PROGRESSED = "action progressed"
    ACTION_TIMED_OUT = "action timed out"
    ACTION_RETRY_DUE = "action retry due"
    ACTION_FAILED_LATE = "action failed late"
    """An attempt that was left without an answer has failed after all."""
    PROBE_SUCCEEDED = "probe succeeded"
    """It happened."""
    PROBE_FAILED = "probe failed"
    """Nobody can tell."""
    PROBE_REJECTED = "probe rejected"
    """It did not happen."""
    PROBE_TIMED_OUT = "probe timed out"
    PROBE_RETRY_DUE = "probe retry due"
    COMPENSATION_SUCCEEDED = "compensation succeeded"
    COMPENSATION_FAILED = "compensation failed"
    COMPENSATION_REJECTED = "compensation rejected"
    COMPENSATION_PROGRESSED = "compensation progressed"
    COMPENSATION_TIMED_OUT = "compensation timed out"
    COMPENSATION_RETRY_DUE = "compensation retry due"
    SIGNALLED = "signalled"
    WAIT_OVER = "wait over"
    RETRY_REQUESTED = "retry requested"
    SKIP_REQUESTED = "skip requested"
    RESOLVED_SUCCEEDED = "resolved succeeded"
    RESOLVED_FAILED = "resolved failed"
    RESOLVED_COMPENSATED = "resolved compensated"


OPERATOR_STIMULI = frozenset(
    {
        Stimulus.RETRY_REQUESTED,
        Stimulus.SKIP_REQUESTED,
        Stimulus.RESOLVED_SUCCEEDED,
        Stimulus.RESOLVED_FAILED,
        Stimulus.RESOLVED_COMPENSATED,
    }
)
"""Who asks in person is told when nothing was done."""


class Rule(StrEnum):
    """What is done about a stimulus."""

    SUCCEED = "record the result"
    SUCCEED_LATE = "record the result, unless its effect was let stand"
    SUCCEED_AGAIN = "record the result, to be undone once more"
    NOTE_SUCCESS = "record the result; an undo under way does not count"
    RETRY_FAILED = "wait and try again, or give up as failed"
    TIME_OUT = "try again, ask, hold or give up as unknown"
    NOTE_FAILURE = "one doubt less"
    SETTLE = "one doubt less; with the last one gone, try again or give up as failed"
    GIVE_UP = "give up"
    DISPATCH = "send the next attempt"
    EXTEND = "wait longer"
    DENY = "it did not happen: try again, or give up as failed"
    ASK_AGAIN = "wait and ask again, or hold"
    PROBE = "ask whether it happened"
    UNDONE = "record the undo, or send it once more where it may have come before the effect"
    RETRY_UNDO = "wait and try the undo again, or get stuck"
    GET_STUCK = "get stuck"
    DISPATCH_UNDO = "send the next attempt of the undo"
    TAKE_SIGNAL = "take the signal as the result"
    WAIT_OVER = "go on, with the default, or give up"
    TRY_AGAIN = "begin a new series of attempts"
    TRY_UNDO_AGAIN = "begin a new series of attempts of the undo"
    LEAVE_OUT = "go on without it"
    LEAVE_STANDING = "go on and let the effect stand"
    NOTHING = "known already or overtaken: no change"
    NEVER = "cannot be: refused"


_P, _D, _W = StepStatus.PENDING, StepStatus.DISPATCHED, StepStatus.WAITING
_S, _F, _U, _K = StepStatus.SUCCEEDED, StepStatus.FAILED, StepStatus.UNKNOWN, StepStatus.SKIPPED
_C, _X, _Z = StepStatus.COMPENSATING, StepStatus.COMPENSATED, StepStatus.COMPENSATION_FAILED

STEP_TRANSITIONS: dict[Rule, tuple[StepStatus, ...]] = {
    Rule.SUCCEED: (_S,),
    Rule.SUCCEED_LATE: (_S,),
    Rule.SUCCEED_AGAIN: (_S,),
    Rule.NOTE_SUCCESS: (),
    Rule.RETRY_FAILED: (_P, _U, _F),
    Rule.TIME_OUT: (_U,),
    Rule.NOTE_FAILURE: (),
    Rule.SETTLE: (_P, _U, _F),
    Rule.GIVE_UP: (_F, _U),
    Rule.DISPATCH: (_D, _F, _U),
    Rule.EXTEND: (_D,),
    Rule.DENY: (_P, _F),
    Rule.ASK_AGAIN: (_U,),
    Rule.PROBE: (_U,),
    Rule.UNDONE: (_X, _C),
    Rule.RETRY_UNDO: (_C, _Z),
    Rule.GET_STUCK: (_Z,),
    Rule.DISPATCH_UNDO: (_C, _Z),
    Rule.TAKE_SIGNAL: (_S,),
    Rule.WAIT_OVER: (_S, _F),
    Rule.TRY_AGAIN: (_D, _F, _U),
    Rule.TRY_UNDO_AGAIN: (_C, _Z),
    Rule.LEAVE_OUT: (_K,),
    Rule.LEAVE_STANDING: (_K,),
    Rule.NOTHING: (),
    Rule.NEVER: (),
}
"""The statuses that each rule can leave a step in; none where it stays as it is."""

_succeed, _nothing, _never, _note = Rule.SUCCEED, Rule.NOTHING, Rule.NEVER, Rule.NOTE_FAILURE
_no_reply = (_nothing, _nothing, _nothing)

# fmt: off
_ACTION_RULES: dict[StepStatus, tuple[Rule, ...]] = {
    #    succeeded           failed             rejected      progressed   timed out      retry due      failed late
    _P: (_succeed,           _nothing,          Rule.GIVE_UP, _nothing,    _never,        Rule.DISPATCH, _note),
    _D: (_succeed,           Rule.RETRY_FAILED, Rule.GIVE_UP, Rule.EXTEND, Rule.TIME_OUT, _never,        _note),
    _W: (_never,             _never,            _never,       _never,      _never,        _never,        _never),
    _S: (_nothing,           _nothing,          _nothing,     _nothing,    _never,        _never,        _nothing),
    _F: (_succeed,           _nothing,          _nothing,     _nothing,    _never,        _never,        _nothing),
    _U: (_succeed,           _nothing,          Rule.GIVE_UP, _nothing,    _never,        Rule.DISPATCH, Rule.SETTLE),
    _K: (Rule.SUCCEED_LATE,  _nothing,          _nothing,     _nothing,    _never,        _never,        _note),
    _C: (Rule.NOTE_SUCCESS,  _nothing,          _nothing,     _nothing,    _never,        _never,        _note),
    _X: (Rule.SUCCEED_AGAIN, _nothing,          _nothing,     _nothing,    _never,        _never,        _note),
    _Z: (Rule.NOTE_SUCCESS,  _nothing,          _nothing,     _nothing,    _never,        _never,        _note),
}

_PROBE_RULES: dict[StepStatus, tuple[Rule, ...]] = {
    #    it happened     nobody can tell it did not timed out       retry due
    _P: (_succeed,       _nothing,       _nothing,  _never,         _never),
    _D: (_succeed,       _nothing,       _nothing,  _never,         _never),
    _W: (_never,         _never,         _never,    _never,         _never),
    _S: (*_no_reply,                                _never,         _never),
    _F: (_succeed,       _nothing,       _nothing,  _never,         _never),
    _U: (_succeed,       Rule.ASK_AGAIN, Rule.DENY, Rule.ASK_AGAIN, Rule.PROBE),
    _K: (Rule.SUCCEED_LATE, _nothing,    _nothing,  _never,         _never),
    _C: (*_no_reply,                                _never,         _never),
    _X: (*_no_reply,                                _never,         _never),
    _Z: (*_no_reply,                                _never,         _never),
}

_COMPENSATION_RULES: dict[StepStatus, tuple[Rule, ...]] = {
    #    succeeded    failed           rejected        progressed timed out        retry due
    _P: (_never,      _never,          _never,         _never,    _never,          _never),
    _D: (_never,      _never,          _never,         _never,    _never,          _never),
    _W: (_never,      _never,          _never,         _never,    _never,          _never),
    _S: (_nothing,    _nothing,        _nothing,       _nothing,  _never,          _never),
    _F: (_never,      _never,          _never,         _never,    _never,          _never),
    _U: (_never,      _never,          _never,         _never,    _never,          _never),
    _K: (Rule.UNDONE, _nothing,        _nothing,       _nothing,  _never,          _never),
    _C: (Rule.UNDONE, Rule.RETRY_UNDO, Rule.GET_STUCK, _nothing,  Rule.RETRY_UNDO, Rule.DISPATCH_UNDO),
    _X: (_nothing,    _nothing,        _nothing,       _nothing,  _never,          _never),
    _Z: (Rule.UNDONE, _nothing,        _nothing,       _nothing,  _never,          _never),
}

_WAIT_RULES: dict[StepStatus, tuple[Rule, ...]] = {
    #    signalled         wait over
    _P: (_never,           _never),
    _D: (_never,           _never),
    _W: (Rule.TAKE_SIGNAL, Rule.WAIT_OVER),
    _S: (_never,           _never),
    _F: (Rule.TAKE_SIGNAL, _never),
    _U: (_never,           _never),
    _K: (_never,           _never),
    _C: (_never,           _never),
    _X: (_never,           _never),
    _Z: (_never,           _never),
}

_PERSON_RULES: dict[StepStatus, tuple[Rule, ...]] = {
    #    retry                skip                 resolved: succeeded failed         compensated
    _P: (Rule.TRY_AGAIN,      Rule.LEAVE_OUT,      _succeed,           Rule.GIVE_UP,  _never),
    _D: (_never,              Rule.LEAVE_OUT,      _succeed,           Rule.GIVE_UP,  _never),
    _W: (_never,              Rule.LEAVE_OUT,      _succeed,           Rule.GIVE_UP,  _never),
    _S: (_never,              _never,              _nothing,           _never,        Rule.UNDONE),
    _F: (Rule.TRY_AGAIN,      Rule.LEAVE_OUT,      _succeed,           Rule.GIVE_UP,  _never),
    _U: (Rule.TRY_AGAIN,      Rule.LEAVE_OUT,      _succeed,           Rule.GIVE_UP,  Rule.UNDONE),
    _K: (_never,              _nothing,            _never,             _never,        _never),
    _C: (Rule.TRY_UNDO_AGAIN, Rule.LEAVE_STANDING, _never,             _never,        Rule.UNDONE),
    _X: (_never,              _never,              _never,             _never,        _nothing),
    _Z: (Rule.TRY_UNDO_AGAIN, Rule.LEAVE_STANDING, _never,             _never,        Rule.UNDONE),
}
# fmt: on

_STIMULI = tuple(Stimulus)
_TABLES: tuple[tuple[tuple[Stimulus, ...], dict[StepStatus, tuple[Rule, ...]]], ...] = (
    (_STIMULI[:7], _ACTION_RULES),
    (_STIMULI[7:12], _PROBE_RULES),
    (_STIMULI[12:18], _COMPENSATION_RULES),
    (_STIMULI[18:20], _WAIT_RULES),
    (_STIMULI[20:], _PERSON_RULES),
)

STEP_RULES: dict[tuple[StepStatus, Stimulus], Rule] = {
    (status, stimulus): rule
    for stimuli, table in _TABLES
    for status, row in table.items()
    for stimulus, rule in zip(stimuli, row, strict=True)
}
"""Total: a rule for every pair."""


class Finding(StrEnum):
    """What a saga finds when it looks at itself after something has changed."""

    UNDER_WAY = "steps are under way"
    ALL_DONE = "every step is done or left out"
    PARKED = "something waits for a person"
    UNDOING = "effects are being undone"
    ALL_UNDONE = "nothing is left to undo"
    HALTED = "a person has paused it"


STATUS_OF: dict[Finding, SagaStatus] = {
    Finding.UNDER_WAY: SagaStatus.RUNNING,
    Finding.ALL_DONE: SagaStatus.COMPLETED,
    Finding.PARKED: SagaStatus.STUCK,
    Finding.UNDOING: SagaStatus.COMPENSATING,
    Finding.ALL_UNDONE: SagaStatus.COMPENSATED,
    Finding.HALTED: SagaStatus.PAUSED,
}

SAGA_TRANSITIONS: dict[SagaStatus, tuple[Finding, ...]] = {
    SagaStatus.RUNNING: tuple(Finding),
    SagaStatus.COMPENSATING: (Finding.UNDOING, Finding.ALL_UNDONE, Finding.PARKED, Finding.HALTED),
    SagaStatus.PAUSED: tuple(Finding),
    SagaStatus.STUCK: tuple(Finding),
    SagaStatus.COMPLETED: (Finding.ALL_DONE, Finding.UNDOING, Finding.ALL_UNDONE, Finding.PARKED),
    SagaStatus.COMPENSATED: (Finding.ALL_UNDONE, Finding.UNDOING, Finding.PARKED),
}
"""What a saga can find, by what it was before."""
