"""The test kit for authors: definitions and handlers run in memory, in virtual time, without a server.

`simulation` (what tests write against), `answers` (how commands are answered), `saga` and `timeline` (what is told of a
saga), `failures` (every way to fail), `sources` (what can be simulated), `sent_names` (what scripts may be for),
`service` (the service in memory), `outside` (all that is not the service), `handling`, `inbox` and `virtual_loop` (real
handlers in virtual time), `moments`, `pytest_plugin` (timelines of tests that failed).
"""

from saga_service.testing.errors import NeverEnds, NotReached, Refused
from saga_service.testing.failures import StepFailure, every_failure
from saga_service.testing.saga import SimulatedSaga
from saga_service.testing.scripts import Script
from saga_service.testing.simulation import Simulation

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
