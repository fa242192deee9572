"""Encrypted values as commands show them: decrypted where the key is known here, else with the name of the key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from saga_service.cli.access.views import SagaRow, SagaStory
from saga_service.cli.exits import CommandFailed, ExitCode
from saga_service.encryption import CipherNotLoaded, load_cipher
from saga_service.settings import Settings
from saga_service.wire.encryption import (
    INPUT,
    OUTPUT,
    SIGNAL,
    Cipher,
    DecryptionFailed,
    decrypt_value,
    is_encrypted,
    key_id,
)


def cipher_of(settings: Settings) -> Cipher | None:
    """The cipher that the settings name, None where they name none. Raises CommandFailed where it cannot be had."""
    try:
        return load_cipher(
            settings.encryption_keys.get_secret_value(), settings.encryption_cipher, encrypt=settings.encryption_enabled
        )
    except CipherNotLoaded as error:
        raise CommandFailed(str(error), code=ExitCode.USAGE) from None


def decrypted_saga(saga: SagaRow, cipher: Cipher | None) -> SagaRow:
    """The saga with its input as a person reads it."""
    return replace(saga, input=_decrypted(saga.input, cipher, INPUT, saga.id))


def decrypted_story(story: SagaStory, cipher: Cipher | None) -> SagaStory:
    """The story with inputs, outputs and signals' data as a person reads them."""
    saga_id = story.saga.id
    return replace(
        story,
        saga=decrypted_saga(story.saga, cipher),
        steps=[
            replace(step, output=_decrypted(step.output, cipher, OUTPUT, saga_id, step.step)) for step in story.steps
        ],
        signals=[
            replace(each, data=_decrypted(each.data, cipher, SIGNAL, saga_id, each.name, each.signal_id))
            for each in story.signals
        ],
        children=[decrypted_saga(child, cipher) for child in story.children],
    )


def _decrypted(value: Any, cipher: Cipher | None, *context: str) -> Any:  # Any: whatever the author's data is
    if not isinstance(value, dict) or not is_encrypted(value):
        return value
    try:
        return orjson.loads(decrypt_value(value, cipher, *context))
    except DecryptionFailed:
        return f"encrypted (key {key_id(value)})"
