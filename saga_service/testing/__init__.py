"""The test kit for authors: definitions and handlers run in memory, in virtual time, without a server.

- `simulation`, `saga`, `scripts`: the classes that tests use.
- `failure_cases`, `failure_run`: every way in which the steps of a saga can fail, and the run of one.
- `catalogs`: from a test's sagas to the catalog of the service.
- `service`: the service in memory; `environment`: its workers and scripts; `default_outputs`: what they answer unasked.
- `handlers`, `virtual_loop`: real handlers in virtual time.
- `pytest_plugin`: a saga's history in the report of a failed test.
"""

from saga_service.testing.default_outputs import NoOutput
from saga_service.testing.failure_cases import StepFailure, every_failure
from saga_service.testing.saga import NotReached, SimulatedSaga
from saga_service.testing.scripts import Script
from saga_service.testing.service import Refused
from saga_service.testing.simulation import Simulation
from saga_service.testing.virtual_loop import NeverEnds

__all__ = [
    "NeverEnds",
    "NoOutput",
    "NotReached",
    "Refused",
    "Script",
    "SimulatedSaga",
    "Simulation",
    "StepFailure",
    "every_failure",
]
