"""A version for a saga's document: the same for the same saga, whatever it was written in."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

DIGEST_OCTETS = 6
_EXACT_MAX = 2**53


def digest(document: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that change with any value of the document."""
    canonical = orjson.dumps(canonical_numbers(document), option=orjson.OPT_SORT_KEYS)
    return blake2b(canonical, digest_size=DIGEST_OCTETS, person=b"saga_definition").hexdigest()


def canonical_numbers(value: Any) -> Any:
    """`2.0` as `2`: JSON does not tell them apart, and neither must a digest."""
    match value:
        case float() if value.is_integer() and abs(value) < _EXACT_MAX:
            return int(value)
        case dict():
            return {name: canonical_numbers(inner) for name, inner in value.items()}
        case list() | tuple():
            return [canonical_numbers(inner) for inner in value]
        case _:
            return value
