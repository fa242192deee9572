"""Definitions against workers: everything that would keep a step from being carried out, before the first saga.

`comparison` takes what is deployed, or is about to be: sagas, and the descriptions of workers. It finds what no worker
carries out, data that a handler's model does not take, and results that are not the declared output. `command_data`
says what each command carries, as far as its definition decides it; `schema_comparison` compares two schemas.
"""

from saga_service.definitions.compatibility.comparison import Mismatch, compare

__all__ = ["Mismatch", "compare"]
