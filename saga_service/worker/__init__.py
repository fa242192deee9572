"""The workers' SDK: typed async handlers that carry out a service's commands and answer them.

`worker` (what authors write against), `registration` (what a handler's signature must be), `context`, `errors`,
`execution` (one command through one handler to one reply), `handling` (many at once), `intake` (reading), `replies`
(answering and acknowledging), `renewal` (keeping what takes long), `running` (one worker from start to stop).
"""

from saga_service.worker.context import StepContext
from saga_service.worker.errors import Rejected, Retryable, WrongHandler
from saga_service.worker.loading import WorkerNotLoaded, load_worker
from saga_service.worker.options import WorkerOptions
from saga_service.worker.run import run_workers
from saga_service.worker.running import WorkerCannotStart
from saga_service.worker.worker import Worker

__all__ = [
    "Rejected",
    "Retryable",
    "StepContext",
    "Worker",
    "WorkerCannotStart",
    "WorkerNotLoaded",
    "WorkerOptions",
    "WrongHandler",
    "load_worker",
    "run_workers",
]
