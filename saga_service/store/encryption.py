"""A saga as its row has it: input, outputs and the data of signals sealed. What people search by stays readable.

Errors stay readable too: an operator has to see at night why a saga is stuck.
"""

from __future__ import annotations

from typing import Any

import orjson

from saga_service.core.ids import SagaId
from saga_service.core.state import JsonObject, SagaState, Signal, StepState
from saga_service.wire.encryption import (
    INPUT,
    OUTPUT,
    SIGNAL,
    Cipher,
    DecryptionFailed,
    decrypt_value,
    is_encrypted,
    seal,
)


def sealed(state: SagaState, cipher: Cipher, *, with_input: bool = True) -> SagaState:
    """`with_input` is false where the input is stored already. Raises orjson.JSONEncodeError."""
    return state._replace(
        input=seal(state.input, cipher, INPUT, state.id) if with_input and state.input else state.input,
        steps=tuple([_sealed_step(state.id, step, cipher) for step in state.steps]),
        signals=tuple([_sealed_signal(state.id, signal, cipher) for signal in state.signals]),
    )


def _sealed_step(saga_id: SagaId, step: StepState, cipher: Cipher) -> StepState:
    # An empty object tells nothing, and most undos and many actions return one.
    return step._replace(output=seal(step.output, cipher, OUTPUT, saga_id, step.name)) if step.output else step


def _sealed_signal(saga_id: SagaId, signal: Signal, cipher: Cipher) -> Signal:
    if not signal.data:
        return signal
    return signal._replace(data=seal(signal.data, cipher, SIGNAL, saga_id, signal.name, signal.id))


def opened(state: SagaState, cipher: Cipher | None) -> SagaState:
    """The saga as the core knows it. What is plain, from before there was a codec, stays as it is. Raises
    DecryptionFailed.

    Without a codec too a sealed value is found: taken for a plain one it would be sent to the workers.
    """
    if not any(map(is_encrypted, values(state))):
        return state
    return state._replace(
        input=_opened(state.input, cipher, INPUT, state.id),
        steps=tuple([_opened_step(state.id, step, cipher) for step in state.steps]),
        signals=tuple([_opened_signal(state.id, signal, cipher) for signal in state.signals]),
    )


def values(state: SagaState) -> list[JsonObject]:
    """All that is sealed in a row."""
    outputs = [step.output for step in state.steps if step.output]
    return [state.input, *outputs, *[signal.data for signal in state.signals if signal.data]]


def _opened_step(saga_id: SagaId, step: StepState, cipher: Cipher | None) -> StepState:
    return step._replace(output=_opened(step.output, cipher, OUTPUT, saga_id, step.name)) if step.output else step


def _opened_signal(saga_id: SagaId, signal: Signal, cipher: Cipher | None) -> Signal:
    if not signal.data:
        return signal
    return signal._replace(data=_opened(signal.data, cipher, SIGNAL, saga_id, signal.name, signal.id))


def _opened(value: JsonObject, cipher: Cipher | None, field: str, saga_id: SagaId, *place: str) -> JsonObject:
    if not is_encrypted(value):
        return value
    try:
        plain: dict[str, Any] = orjson.loads(decrypt_value(value, cipher, field, saga_id, *place))
    except DecryptionFailed as error:
        of_what = f" of {place[0]}" if place else ""
        raise type(error)(f"the stored {field}{of_what} of saga {saga_id} {error}") from None
    return plain
