"""The theory of the state machine, and its tables.

A saga is a graph of steps. Each step is at one status, and everything that can reach a step is a *stimulus*: a reply
to its action, to its compensation or to its probe; one of its own timers; a signal; an operator's request.

The machine has two halves, as h11's has:

*Event-triggered* (`machine.react`). For every pair of a status and a stimulus `STEP_RULES` names the rule that applies
(`rules`). Where a rule depends on more than the status, a guard says why it does not apply (`guards`). A rule changes
its own step; `STEP_MOVES` lists the statuses that each pair can leave that step at.

*State-triggered* (`machine.evaluate`). After each such change the saga is evaluated once: steps begin whose turn has
come, or undos are sent, and the saga gets the status of the condition that it is in (`STATUS_OF`). An evaluation
depends on how things are, and never on what has just happened. `EVALUATION_MOVES` lists what evaluating, and starting
to compensate, do to steps; `SAGA_TRANSITIONS` lists the conditions that may follow each status of a saga.

    forward     pending -> dispatched -> succeeded. A step begins when every step that it waits for is done or skipped:
                branches go side by side, and joins wait. A step whose condition does not hold is skipped. Sleeps and
                signals are `waiting`. With every step done or skipped the saga is completed.
    retry       a failed attempt goes back to pending and waits; a timed-out one waits as `unknown`, because it may
                have happened. The next attempt has the same idempotency key.
    unknown     a worker that began and cannot tell whether it happened says so; that is as good as a time-out. What
                follows is the author's choice: the next attempt, a probe (it happened, it did not, or
                nobody can tell), the undo, or parking until a late reply or a person decides.
    no output   an action that happened, and whose output cannot be used, is given up on. Its effect is undone like any
                other.
    give up     out of attempts or of time, or told that it is pointless: `failed`, or `unknown` where any attempt was
                left unanswered. The saga starts compensating. It does not where it can only go forward: a retriable
                step, a pivot in doubt, and every step after the pivot are parked, and the saga is stuck.
    compensate  no step begins and nothing is tried again. Commands in flight are awaited until they are answered or
                time out, for only then is the order known in which things must be undone.
    undo        steps that took effect, or may have, are undone one at a time from the highest `effect_revision` to the
                lowest (or side by side, where the author said so). A step that a person skipped may have happened too.
                A step without compensation is passed over. With nothing left to undo the saga is compensated.
    stuck       a parked step, or an undo out of attempts, stops the saga where a person can see it. A late reply or an
                operator's request sets it going again.
    late        the success of any earlier attempt is a success of the step. If the step was given up on meanwhile, the
                success is recorded and undone in its turn, even where the saga had ended as compensated. An undo that
                was under way when the success came may have come before the effect: another one is sent after it. The
                failure of an unanswered attempt settles its doubt. An effect that a person let stay stays as it is.
    deadline    of the saga as a whole: nothing begins after it, and the saga starts compensating. A pivot in flight is
                awaited first: if it is done the deadline means nothing more, and if it fails it counts then.
    child       a child saga is there until it ends, and its end is the reply. One that takes too long is called off
                and awaited until it says how it ended; only then may another attempt start another child. One that is
                called off before its start has come never begins: a tombstone takes its place.
    paused      nothing is sent. Replies are recorded; time-outs of commands in flight go on.

A reply to a command that was never sent is refused before the table is read, and so is the failure of an earlier
attempt that is not in doubt: the current attempt decides. So every cell below speaks of a command that is known to
have been sent.
"""

from __future__ import annotations

from enum import StrEnum

from saga_service.core.vocabulary import (
    COMPENSATED,
    COMPENSATING,
    COMPENSATION_FAILED,
    DISPATCHED,
    FAILED,
    PENDING,
    SAGA_COMPENSATED,
    SAGA_COMPENSATING,
    SAGA_COMPLETED,
    SAGA_PAUSED,
    SAGA_RUNNING,
    SAGA_STUCK,
    SKIPPED,
    SUCCEEDED,
    UNKNOWN,
    WAITING,
    Direction,
    SagaStatus,
    StepStatus,
)


class Stimulus(StrEnum):
    """Everything that can reach a step. The value names the event in the saga's history."""

    ACTION_SUCCEEDED = "action_succeeded"
    ACTION_FAILED = "action_failed"
    ACTION_REJECTED = "action_rejected"
    ACTION_PROGRESSED = "action_progressed"
    ACTION_TIMED_OUT = "action_timed_out"
    ACTION_RETRY_DUE = "action_retry_due"
    ACTION_FAILED_LATE = "action_failed_late"
    """An unanswered attempt has failed after all."""
    ACTION_LEFT_UNKNOWN = "action_left_unknown"
    """Its worker began on it, and cannot tell whether it happened."""
    ACTION_OUTPUT_REFUSED = "action_output_refused"
    """The action happened, and its output cannot be used."""
    PROBE_CONFIRMED = "probe_confirmed"
    """The action happened."""
    PROBE_INCONCLUSIVE = "probe_inconclusive"
    """Nobody can tell."""
    PROBE_DENIED = "probe_denied"
    """The action did not happen."""
    PROBE_TIMED_OUT = "probe_timed_out"
    PROBE_RETRY_DUE = "probe_retry_due"
    COMPENSATION_SUCCEEDED = "compensation_succeeded"
    COMPENSATION_FAILED = "compensation_failed"
    COMPENSATION_REJECTED = "compensation_rejected"
    COMPENSATION_PROGRESSED = "compensation_progressed"
    COMPENSATION_TIMED_OUT = "compensation_timed_out"
    COMPENSATION_RETRY_DUE = "compensation_retry_due"
    SIGNAL_RECEIVED = "signal_received"
    WAIT_ENDED = "wait_ended"
    """The sleep is over, or the signal did not come in time."""
    RETRY_REQUESTED = "retry_requested"
    SKIP_REQUESTED = "skip_requested"
    RESOLVED_SUCCEEDED = "resolved_succeeded"
    RESOLVED_FAILED = "resolved_failed"
    RESOLVED_COMPENSATED = "resolved_compensated"


STARTED = "started"
SIGNAL_BUFFERED = "signal_buffered"
"""A signal came before any step waits for it."""
DEADLINE_PASSED = "deadline_passed"
CONDITION_NOT_MET = "condition_not_met"
"""A step was skipped because its condition does not hold."""
# In history too: `expression_failed`, which is a fault's code as well, and `<operation>_requested` for a whole saga.

OPERATOR_STIMULI = frozenset(
    {
        Stimulus.RETRY_REQUESTED,
        Stimulus.SKIP_REQUESTED,
        Stimulus.RESOLVED_SUCCEEDED,
        Stimulus.RESOLVED_FAILED,
        Stimulus.RESOLVED_COMPENSATED,
    }
)
"""The stimuli of operators. Where a guard is against one, it is refused, so that the person learns why."""

DIRECTION_OF: dict[Stimulus, Direction | None] = {
    stimulus: next((each for each in Direction if stimulus.startswith(f"{each.value}_")), None) for stimulus in Stimulus
}
"""The direction that a line of history names beside the event."""


class Rule(StrEnum):
    """The ways to treat a stimulus."""

    SUCCEED = "record the result"
    SUCCEED_LATE = "record the result, unless a person let its effect stay"
    SUCCEED_AGAIN = "record the result, to be undone once more"
    NOTE_SUCCESS = "record the result; an undo under way does not count"
    RETRY_FAILED = "wait and try again, or give up as failed"
    TIME_OUT = "try again, probe, park or give up as unknown"
    NOTE_FAILURE = "one doubt less"
    SETTLE = "one doubt less; with the last one gone, try again or give up as failed"
    GIVE_UP = "give up: another attempt is pointless"
    GIVE_UP_DONE = "give up: it happened, and its output cannot be used"
    RESOLVE_FAILED = "it did not happen: give up as failed"
    DISPATCH = "send the next attempt"
    EXTEND = "wait longer"
    DENY = "it did not happen: try again, or give up as failed"
    PROBE_AGAIN = "wait and probe again, or park"
    PROBE = "send the next probe"
    UNDONE = "record the undo"
    UNDONE_OR_REPEAT = "record the undo, or send it once more where it may have come before the effect"
    RETRY_UNDO = "wait and try the undo again, or get stuck"
    GIVE_UP_UNDO = "get stuck"
    DISPATCH_UNDO = "send the next attempt of the undo"
    TAKE_SIGNAL = "take the signal as the result"
    END_WAIT = "go on, with the default, or give up"
    TRY_AGAIN = "begin a new series of attempts"
    TRY_UNDO_AGAIN = "begin a new series of attempts of the undo"
    SKIP = "go on without it"
    LET_EFFECT_STAY = "go on and let the effect stay"
    IGNORE = "known already or overtaken: no change"
    REFUSE = "cannot be: refused"


# The tables, with the rules under shorter names so that a row stays a line.
_ignore, _refuse, _dispatch, _extend = Rule.IGNORE, Rule.REFUSE, Rule.DISPATCH, Rule.EXTEND
_succeed, _succeed_late, _succeed_anew = Rule.SUCCEED, Rule.SUCCEED_LATE, Rule.SUCCEED_AGAIN
_note_success, _less, _settle, _deny = Rule.NOTE_SUCCESS, Rule.NOTE_FAILURE, Rule.SETTLE, Rule.DENY
_retry, _time_out = Rule.RETRY_FAILED, Rule.TIME_OUT
_give_up, _kept, _resolve_failed = Rule.GIVE_UP, Rule.GIVE_UP_DONE, Rule.RESOLVE_FAILED
_undone, _undone_or_repeat = Rule.UNDONE, Rule.UNDONE_OR_REPEAT
_probe, _probe_again, _take_signal, _end_wait = Rule.PROBE, Rule.PROBE_AGAIN, Rule.TAKE_SIGNAL, Rule.END_WAIT
_retry_undo, _give_up_undo, _dispatch_undo = Rule.RETRY_UNDO, Rule.GIVE_UP_UNDO, Rule.DISPATCH_UNDO
_try_again, _try_undo_again = Rule.TRY_AGAIN, Rule.TRY_UNDO_AGAIN
_skip, _let_effect_stay = Rule.SKIP, Rule.LET_EFFECT_STAY

# fmt: off
_ACTION_RULES: dict[StepStatus, tuple[Rule, ...]] = {
    #                     succeeded      failed   rejected  progress timed out  retry due  late     unknown    no output
    PENDING:             (_succeed,      _ignore, _give_up, _ignore, _refuse,   _dispatch, _less,   _ignore,   _kept),
    DISPATCHED:          (_succeed,      _retry,  _give_up, _extend, _time_out, _refuse,   _less,   _time_out, _kept),
    WAITING:             (_refuse,       _refuse, _refuse,  _refuse, _refuse,   _refuse,   _refuse, _refuse,   _refuse),
    SUCCEEDED:           (_ignore,       _ignore, _ignore,  _ignore, _refuse,   _refuse,   _ignore, _ignore,   _refuse),
    FAILED:              (_succeed,      _ignore, _ignore,  _ignore, _refuse,   _refuse,   _ignore, _ignore,   _kept),
    UNKNOWN:             (_succeed,      _ignore, _give_up, _ignore, _refuse,   _dispatch, _settle, _ignore,   _kept),
    SKIPPED:             (_succeed_late, _ignore, _ignore,  _ignore, _refuse,   _refuse,   _less,   _ignore,   _refuse),
    COMPENSATING:        (_note_success, _ignore, _ignore,  _ignore, _refuse,   _refuse,   _less,   _ignore,   _refuse),
    COMPENSATED:         (_succeed_anew, _ignore, _ignore,  _ignore, _refuse,   _refuse,   _less,   _ignore,   _refuse),
    COMPENSATION_FAILED: (_note_success, _ignore, _ignore,  _ignore, _refuse,   _refuse,   _less,   _ignore,   _refuse),
}

_PROBE_RULES: dict[StepStatus, tuple[Rule, ...]] = {
    #                     confirmed      inconclusive  denied   timed out     retry due
    PENDING:             (_succeed,      _ignore,      _ignore, _refuse,      _refuse),
    DISPATCHED:          (_succeed,      _ignore,      _ignore, _refuse,      _refuse),
    WAITING:             (_refuse,       _refuse,      _refuse, _refuse,      _refuse),
    SUCCEEDED:           (_ignore,       _ignore,      _ignore, _refuse,      _refuse),
    FAILED:              (_succeed,      _ignore,      _ignore, _refuse,      _refuse),
    UNKNOWN:             (_succeed,      _probe_again, _deny,   _probe_again, _probe),
    SKIPPED:             (_succeed_late, _ignore,      _ignore, _refuse,      _refuse),
    COMPENSATING:        (_ignore,       _ignore,      _ignore, _refuse,      _refuse),
    COMPENSATED:         (_ignore,       _ignore,      _ignore, _refuse,      _refuse),
    COMPENSATION_FAILED: (_ignore,       _ignore,      _ignore, _refuse,      _refuse),
}

_COMPENSATION_RULES: dict[StepStatus, tuple[Rule, ...]] = {
    #                     succeeded          failed       rejected       progressed timed out    retry due
    PENDING:             (_refuse,           _refuse,     _refuse,       _refuse,   _refuse,     _refuse),
    DISPATCHED:          (_refuse,           _refuse,     _refuse,       _refuse,   _refuse,     _refuse),
    WAITING:             (_refuse,           _refuse,     _refuse,       _refuse,   _refuse,     _refuse),
    SUCCEEDED:           (_ignore,           _ignore,     _ignore,       _ignore,   _refuse,     _refuse),
    FAILED:              (_refuse,           _refuse,     _refuse,       _refuse,   _refuse,     _refuse),
    UNKNOWN:             (_refuse,           _refuse,     _refuse,       _refuse,   _refuse,     _refuse),
    SKIPPED:             (_undone,           _ignore,     _ignore,       _ignore,   _refuse,     _refuse),
    COMPENSATING:        (_undone_or_repeat, _retry_undo, _give_up_undo, _ignore,   _retry_undo, _dispatch_undo),
    COMPENSATED:         (_ignore,           _ignore,     _ignore,       _ignore,   _refuse,     _refuse),
    COMPENSATION_FAILED: (_undone,           _ignore,     _ignore,       _ignore,   _refuse,     _refuse),
}

_WAIT_RULES: dict[StepStatus, tuple[Rule, ...]] = {
    #                     signal received wait ended
    PENDING:             (_refuse,        _refuse),
    DISPATCHED:          (_refuse,        _refuse),
    WAITING:             (_take_signal,   _end_wait),
    SUCCEEDED:           (_refuse,        _refuse),
    FAILED:              (_take_signal,   _refuse),
    UNKNOWN:             (_refuse,        _refuse),
    SKIPPED:             (_refuse,        _refuse),
    COMPENSATING:        (_refuse,        _refuse),
    COMPENSATED:         (_refuse,        _refuse),
    COMPENSATION_FAILED: (_refuse,        _refuse),
}

_OPERATOR_RULES: dict[StepStatus, tuple[Rule, ...]] = {
    #                     retry            skip              resolved succeeded resolved failed  resolved compensated
    PENDING:             (_try_again,      _skip,            _succeed,          _resolve_failed, _refuse),
    DISPATCHED:          (_refuse,         _skip,            _succeed,          _resolve_failed, _refuse),
    WAITING:             (_refuse,         _skip,            _succeed,          _resolve_failed, _refuse),
    SUCCEEDED:           (_refuse,         _refuse,          _ignore,           _refuse,         _undone),
    FAILED:              (_try_again,      _skip,            _succeed,          _resolve_failed, _refuse),
    UNKNOWN:             (_try_again,      _skip,            _succeed,          _resolve_failed, _undone),
    SKIPPED:             (_refuse,         _ignore,          _refuse,           _refuse,         _refuse),
    COMPENSATING:        (_try_undo_again, _let_effect_stay, _refuse,           _refuse,         _undone),
    COMPENSATED:         (_refuse,         _refuse,          _refuse,           _refuse,         _ignore),
    COMPENSATION_FAILED: (_try_undo_again, _let_effect_stay, _refuse,           _refuse,         _undone),
}
# fmt: on

_STIMULI = tuple(Stimulus)
_TABLES: tuple[tuple[tuple[Stimulus, ...], dict[StepStatus, tuple[Rule, ...]]], ...] = (
    (_STIMULI[:9], _ACTION_RULES),
    (_STIMULI[9:14], _PROBE_RULES),
    (_STIMULI[14:20], _COMPENSATION_RULES),
    (_STIMULI[20:22], _WAIT_RULES),
    (_STIMULI[22:], _OPERATOR_RULES),
)

STEP_RULES: dict[tuple[StepStatus, Stimulus], Rule] = {
    (status, stimulus): rule
    for stimuli, table in _TABLES
    for status, row in table.items()
    for stimulus, rule in zip(stimuli, row, strict=True)
}
"""A rule for every pair of a status and a stimulus."""

STEP_TRANSITIONS: dict[Rule, tuple[StepStatus, ...]] = {
    Rule.SUCCEED: (SUCCEEDED,),
    Rule.SUCCEED_LATE: (SUCCEEDED,),
    Rule.SUCCEED_AGAIN: (SUCCEEDED,),
    Rule.NOTE_SUCCESS: (),
    Rule.RETRY_FAILED: (PENDING, UNKNOWN, FAILED),
    Rule.TIME_OUT: (UNKNOWN,),
    Rule.NOTE_FAILURE: (),
    Rule.SETTLE: (PENDING, UNKNOWN, FAILED),
    Rule.GIVE_UP: (FAILED, UNKNOWN),
    Rule.GIVE_UP_DONE: (UNKNOWN,),
    Rule.RESOLVE_FAILED: (FAILED,),
    Rule.DISPATCH: (DISPATCHED, FAILED, UNKNOWN),
    Rule.EXTEND: (DISPATCHED,),
    Rule.DENY: (PENDING, FAILED),
    Rule.PROBE_AGAIN: (UNKNOWN,),
    Rule.PROBE: (UNKNOWN,),
    Rule.UNDONE: (COMPENSATED,),
    Rule.UNDONE_OR_REPEAT: (COMPENSATED, COMPENSATING),
    Rule.RETRY_UNDO: (COMPENSATING, COMPENSATION_FAILED),
    Rule.GIVE_UP_UNDO: (COMPENSATION_FAILED,),
    Rule.DISPATCH_UNDO: (COMPENSATING, COMPENSATION_FAILED),
    Rule.TAKE_SIGNAL: (SUCCEEDED,),
    Rule.END_WAIT: (SUCCEEDED, FAILED),
    Rule.TRY_AGAIN: (DISPATCHED, FAILED, UNKNOWN),
    Rule.TRY_UNDO_AGAIN: (COMPENSATING, COMPENSATION_FAILED),
    Rule.SKIP: (SKIPPED,),
    Rule.LET_EFFECT_STAY: (SKIPPED,),
    Rule.IGNORE: (),
    Rule.REFUSE: (),
}
"""The statuses that each rule can leave a step at; none where it stays as it is."""

_CANNOT_BE: frozenset[tuple[StepStatus, Rule, StepStatus]] = frozenset(
    {
        # A step that is pending or failed is not in doubt, and what was never in doubt does not become unknown.
        (PENDING, Rule.GIVE_UP, UNKNOWN),
        (PENDING, Rule.DISPATCH, UNKNOWN),
        (PENDING, Rule.TRY_AGAIN, UNKNOWN),
        (FAILED, Rule.TRY_AGAIN, UNKNOWN),
        # An unknown step is in doubt, and giving up on the next attempt does not settle that.
        (UNKNOWN, Rule.DISPATCH, FAILED),
        (UNKNOWN, Rule.TRY_AGAIN, FAILED),
    }
)

STEP_MOVES: dict[tuple[StepStatus, Stimulus], tuple[StepStatus, ...]] = {
    (status, stimulus): tuple(target for target in STEP_TRANSITIONS[rule] if (status, rule, target) not in _CANNOT_BE)
    for (status, stimulus), rule in STEP_RULES.items()
}
"""The statuses that each pair can leave a step at. Every one of them happens, and no other does."""

EVALUATION_MOVES: dict[str, tuple[tuple[StepStatus, ...], StepStatus]] = {
    "its turn has come": ((PENDING,), DISPATCHED),
    "its turn to wait has come": ((PENDING,), WAITING),
    "its condition does not hold": ((PENDING,), SKIPPED),
    "its signal is there already": ((WAITING,), SUCCEEDED),
    "its input has no value": ((PENDING,), FAILED),
    "the saga starts compensating": ((WAITING,), SKIPPED),
    "the saga starts compensating while it waits to be tried again": ((PENDING,), FAILED),
    "its turn to be undone has come": ((SUCCEEDED, UNKNOWN, SKIPPED), COMPENSATING),
    "the input of its undo has no value": ((SUCCEEDED, UNKNOWN, SKIPPED), COMPENSATION_FAILED),
}
"""The moves of steps by evaluating the saga, or by its starting to compensate: why, from where, and to where."""


class SagaCondition(StrEnum):
    """The conditions that an evaluation can find a saga in."""

    UNDER_WAY = "steps are under way"
    ALL_DONE = "every step is done or skipped"
    PARKED = "something waits for a person"
    UNDOING = "effects are being undone"
    ALL_UNDONE = "nothing is left to undo"
    PAUSED = "a person has paused it"


UNDER_WAY, ALL_DONE = SagaCondition.UNDER_WAY, SagaCondition.ALL_DONE

STATUS_OF: dict[SagaCondition, SagaStatus] = {
    SagaCondition.UNDER_WAY: SAGA_RUNNING,
    SagaCondition.ALL_DONE: SAGA_COMPLETED,
    SagaCondition.PARKED: SAGA_STUCK,
    SagaCondition.UNDOING: SAGA_COMPENSATING,
    SagaCondition.ALL_UNDONE: SAGA_COMPENSATED,
    SagaCondition.PAUSED: SAGA_PAUSED,
}

SAGA_TRANSITIONS: dict[SagaStatus, tuple[SagaCondition, ...]] = {
    SAGA_RUNNING: tuple(SagaCondition),
    SAGA_COMPENSATING: (
        SagaCondition.UNDOING,
        SagaCondition.ALL_UNDONE,
        SagaCondition.PARKED,
        SagaCondition.PAUSED,
    ),
    SAGA_PAUSED: tuple(SagaCondition),
    SAGA_STUCK: tuple(SagaCondition),
    SAGA_COMPLETED: (
        SagaCondition.ALL_DONE,
        SagaCondition.UNDOING,
        SagaCondition.ALL_UNDONE,
        SagaCondition.PARKED,
    ),
    SAGA_COMPENSATED: (SagaCondition.ALL_UNDONE, SagaCondition.UNDOING, SagaCondition.PARKED),
}
"""The conditions that a saga can be in after each status."""
