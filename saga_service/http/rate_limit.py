"""A limit on the requests of each caller, so that one who asks in a loop leaves room for the others.

The rule is the generic cell rate algorithm: so many requests a second, and twice as many at once after a pause. What a
caller has used is one number in this process's memory.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from http import HTTPStatus

from fastapi import Request
from pyrate_limiter import GCRA, Rate
from starlette.exceptions import HTTPException

from saga_service.http.access.callers import Caller

CALLERS_MAX = 10_000
"""Callers whose use is known. Of more, those that have not asked for the longest begin anew."""
BURST_S = 2
_RULE = GCRA()


class RateLimit:
    """So many requests a second of each caller; 0 is no limit."""

    def __init__(self, requests_per_s_max: int) -> None:
        self.requests_per_s_max = requests_per_s_max
        self._rates = (
            [Rate(requests_per_s_max, 1_000, burst=BURST_S * requests_per_s_max)] if requests_per_s_max else []
        )
        self._used: OrderedDict[str, tuple[float, ...]] = OrderedDict()

    def wait_s(self, caller: str) -> int:
        """Count a request of this caller; 0, or the whole seconds to wait where it is one too many."""
        if not self._rates:
            return 0
        used = self._used.pop(caller, None) or _RULE.initial(self._rates)
        self._used[caller], decision = _RULE.step(self._rates, used, int(time.monotonic() * 1_000), 1)
        if len(self._used) > CALLERS_MAX:
            self._used.popitem(last=False)
        return 0 if decision.allowed else max(1, math.ceil((decision.retry_after_ms or 0) / 1_000))


def count_request(request: Request, caller: Caller) -> None:
    """Raises HTTPException where this request of the caller is one too many."""
    limit: RateLimit = request.app.state.rate_limit
    if wait_s := limit.wait_s(caller.name):
        raise HTTPException(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"'{caller.name}' asks more than {limit.requests_per_s_max} times a second "
            f"(SAGA_HTTP_REQUESTS_PER_S_MAX); ask again in {wait_s} s",
            {"Retry-After": str(wait_s)},
        )
