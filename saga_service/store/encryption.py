"""Encryption of a saga's row: input, outputs and the data of signals. The fields that people search by stay readable.

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
    encrypt_value,
    is_encrypted,
)


def encrypted_state(state: SagaState, cipher: Cipher, *, with_input: bool = True) -> SagaState:
    """The saga as its row has it. `with_input` is false where the input is stored already.

    Raises orjson.JSONEncodeError where a value cannot be stored.
    """
    return state._replace(
        input=encrypt_value(state.input, cipher, INPUT, state.id) if with_input and state.input else state.input,
        steps=tuple([_encrypted_step(state.id, step, cipher) for step in state.steps]),
        signals=tuple([_encrypted_signal(state.id, signal, cipher) for signal in state.signals]),
    )


def _encrypted_step(saga_id: SagaId, step: StepState, cipher: Cipher) -> StepState:
    # An empty object tells nothing, and most undos and many actions return one.
    return step._replace(output=encrypt_value(step.output, cipher, OUTPUT, saga_id, step.name)) if step.output else step


def _encrypted_signal(saga_id: SagaId, signal: Signal, cipher: Cipher) -> Signal:
    if not signal.data:
        return signal
    return signal._replace(data=encrypt_value(signal.data, cipher, SIGNAL, saga_id, signal.name, signal.id))


def decrypted_state(state: SagaState, cipher: Cipher | None) -> SagaState:
    """The saga as the core knows it. A value that is plain, from before there was a cipher, stays as it is.

    Raises DecryptionFailed, without a cipher too: an encrypted value that is taken for a plain one would be sent to
    the workers.
    """
    if not any(map(is_encrypted, values(state))):
        return state
    return state._replace(
        input=_decrypted(state.input, cipher, INPUT, state.id),
        steps=tuple([_decrypted_step(state.id, step, cipher) for step in state.steps]),
        signals=tuple([_decrypted_signal(state.id, signal, cipher) for signal in state.signals]),
    )


def values(state: SagaState) -> list[JsonObject]:
    """The values of a saga that are encrypted in its row."""
    outputs = [step.output for step in state.steps if step.output]
    return [state.input, *outputs, *[signal.data for signal in state.signals if signal.data]]


def _decrypted_step(saga_id: SagaId, step: StepState, cipher: Cipher | None) -> StepState:
    return step._replace(output=_decrypted(step.output, cipher, OUTPUT, saga_id, step.name)) if step.output else step


def _decrypted_signal(saga_id: SagaId, signal: Signal, cipher: Cipher | None) -> Signal:
    if not signal.data:
        return signal
    return signal._replace(data=_decrypted(signal.data, cipher, SIGNAL, saga_id, signal.name, signal.id))


def _decrypted(value: JsonObject, cipher: Cipher | None, field: str, saga_id: SagaId, *context: str) -> JsonObject:
    if not is_encrypted(value):
        return value
    try:
        plain: dict[str, Any] = orjson.loads(decrypt_value(value, cipher, field, saga_id, *context))
    except DecryptionFailed as error:
        of_what = f" of {context[0]}" if context else ""
        raise type(error)(f"the stored {field}{of_what} of saga {saga_id} {error}") from None
    return plain
