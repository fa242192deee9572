"""The test kit for authors: definitions and handlers run in memory, in virtual time, without a server.

- `simulation`, `saga`, `scripts`: the classes that tests use.
- `failures`: every way in which the steps of a saga can fail.
- `sources`: from a test's sagas to the catalog of the service.
- `service`: the service in memory; `environment`: its workers and scripts.
- `handlers`, `inbox`, `virtual_loop`: real handlers in virtual time.
- `timeline`, `pytest_plugin`: a saga's history in words, and in the report of a failed test.
"""

from saga_service.testing.failure_cases import StepFailure, every_failure
from saga_service.testing.saga import NotReached, SimulatedSaga
from saga_service.testing.scripts import Script
from saga_service.testing.service import Refused
from saga_service.testing.simulation import Simulation
from saga_service.testing.virtual_loop import NeverEnds

__all__ = [
    "NeverEnds",
    "NotReached",
    "Refused",
    "Script",
    "SimulatedSaga",
    "Simulation",
    "StepFailure",
    "every_failure",
]
