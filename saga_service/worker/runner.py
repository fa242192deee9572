"""Workers from start to shutdown: their connections, their loops, and the order of what a shutdown does."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager

import structlog
from structlog.typing import FilteringBoundLogger

from saga_service.base.lifecycle import Shutdown, cancel, shutdown_on, stop_on_signals
from saga_service.base.liveness import Liveness, waiting
from saga_service.streams.connection import connect
from saga_service.streams.consumer import Consumer
from saga_service.streams.consumer_loop import ConsumerLoop, Outage, Pace
from saga_service.streams.pipeline import Command, Reply, send
from saga_service.wire.entries import Entry
from saga_service.wire.transport import (
    AccessDenied,
    StreamLost,
    StreamNames,
    TransportError,
    TransportUnavailable,
)
from saga_service.worker.copies import Copies
from saga_service.worker.dispatcher import Dispatcher
from saga_service.worker.handover import Handover
from saga_service.worker.inbox.connection import InboxUnavailable
from saga_service.worker.inbox.postgres import InboxNotCreated, OpenInbox
from saga_service.worker.lease import LeaseRenewal, PendingEntries
from saga_service.worker.loop_watch import LoopWatch
from saga_service.worker.observer import NoWorkerObserver, ObserverOf, WorkerObserver
from saga_service.worker.options import WorkerOptions
from saga_service.worker.presence import Presence
from saga_service.worker.redis_clock import RedisClock
from saga_service.worker.replies import Replies
from saga_service.worker.worker import Worker

HANDLERS_PART_OF_GRACE = 3 / 4
"""The rest of a shutdown's grace period is for Redis to take the last replies and what is handed back."""
LAST_REPLIES_S_MIN = 1.0
INBOX_WATCHED_EVERY_S = 5.0
INBOX_ANSWER_S_MAX = 5.0


class WorkerCannotStart(Exception):
    """Redis or Postgres is there and refuses what the worker needs; the text says what."""


async def run_workers(
    workers: Sequence[Worker],
    options: WorkerOptions | None = None,
    *,
    stop: asyncio.Event | None = None,
    liveness: Liveness | None = None,
    observer_of: ObserverOf | None = None,
) -> None:
    """Run the workers side by side, each with connections of its own, until `stop` is set.

    A shutdown is in good order: no more commands are read, running handlers have a grace period, their replies are
    sent, and other commands are handed back for others to take over. Cancelling ends the workers at once, and others
    take over after a while. Without a `stop` the process's signals are used: the first SIGTERM or SIGINT begins a
    shutdown, the second one ends the workers at once. `liveness` is told how the loops are, and what `observer_of`
    returns for a service what its worker does.

    Redis may be away for any time, at the start too. Raises WorkerCannotStart where Redis or Postgres refuses what a
    worker needs, ValueError where two workers are for one service or a worker has no handlers, and WrongHandler where a
    handler names an action that its worker does not have.
    """
    _check(workers)
    chosen = options or WorkerOptions()
    presence = Presence(workers, chosen, liveness)
    if stop is not None:
        await _run_all(workers, presence, chosen, stop, observer_of)
        return
    async with stop_on_signals() as signalled:
        await _run_all(workers, presence, chosen, signalled, observer_of)


def _check(workers: Sequence[Worker]) -> None:
    for worker in [workers] if isinstance(workers, Worker) else workers:
        if isinstance(workers, Worker) or not isinstance(worker, Worker):
            raise ValueError(
                f"run_workers takes a list of workers, but was given {worker!r}; write run_workers([worker])"
            )
    for worker in workers:
        worker.check()
    twice = [service for service, count in Counter(worker.service for worker in workers).items() if count > 1]
    if twice:
        raise ValueError(f"more than one worker for the service '{twice[0]}'; put its handlers into one")


async def _run_all(
    workers: Sequence[Worker],
    presence: Presence,
    options: WorkerOptions,
    stop: asyncio.Event,
    observer_of: ObserverOf | None,
) -> None:
    async with presence.shown():
        running = [
            asyncio.create_task(_run(worker, options, presence, stop, observer_of and observer_of(worker.service)))
            for worker in workers
        ]
        try:
            await asyncio.gather(*running)
        finally:
            # A worker that cannot go on ends all, so that the process's supervisor sees it.
            await cancel(running)


async def _run(
    worker: Worker, options: WorkerOptions, presence: Presence, stop: asyncio.Event, observer: WorkerObserver | None
) -> None:
    async with _opened_inbox(worker) as inbox:
        await RunningWorker(worker, options, inbox, presence, observer).run(stop)


@asynccontextmanager
async def _opened_inbox(worker: Worker) -> AsyncIterator[OpenInbox | None]:
    if worker.inbox is None:
        yield None
        return
    async with worker.inbox.open() as inbox:
        yield inbox


class RunningWorker:
    """One run of one worker."""

    def __init__(
        self,
        worker: Worker,
        options: WorkerOptions,
        inbox: OpenInbox | None = None,
        presence: Presence | None = None,
        observer: WorkerObserver | None = None,
    ) -> None:
        observer = observer or NoWorkerObserver()
        presence = presence or Presence([worker], options)
        names, slots = StreamNames(options.stream_prefix), options.concurrency or worker.concurrency
        stream = names.commands(worker.service)
        self._worker = worker
        self._options = options
        self._inbox = inbox
        self._liveness = presence.liveness
        self._log: FilteringBoundLogger = structlog.get_logger(__name__).bind(
            service=worker.service, stream=stream, group=worker.group, consumer=options.consumer_name
        )
        self._reading = connect(options.redis_url, blocking_ms=options.read_block_ms, connections_max=1)
        self._writing = connect(options.redis_url, connections_max=2)
        self._consumer = Consumer(self._reading, self._writing, stream, worker.group, options.consumer_name)
        self._pending = PendingEntries()
        self._replies = Replies(
            self._send, self._consumer.acknowledgement, names, self._settled, self._log, observer.replies_retried
        )
        self._clock = RedisClock(self._send)
        self._copies = Copies(self._send, names, stream, worker.group, options.consumer_name, self._log)
        self._dispatcher = Dispatcher(
            worker.handlers,
            self._replies,
            self._copies,
            Handover(self._consumer.pass_on, self._replies.send, self._passed_on, self._clock.now_ms, self._log),
            slots,
            options.reply_bytes_max,
            self._log,
            options.cipher,
            None if inbox is None else inbox.exactly_once,
            self._clock.now_ms,
            observer,
        )
        if inbox is not None:
            inbox.exactly_once.answered = observer.inbox_answered
        observer.look_at(lambda: self._dispatcher.in_flight, slots, lambda: self._replies.unsent)
        presence.dispatchers.append(self._dispatcher)
        self._renewal = LeaseRenewal(
            self._pending, self._consumer.renew, options.reclaim_idle_ms, self._log, observer.leases_lost
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then shut down in good order. Cancelled, end at once: others take over.

        Raises WorkerCannotStart.
        """
        try:
            async with shutdown_on(stop) as shutdown:
                if not await shutdown.cut(self._start()):
                    return
            async with asyncio.TaskGroup() as loops:
                until_the_end = [loops.create_task(loop) for loop in self._loops_until_the_end()]
                try:
                    async with shutdown_on(stop) as shutdown:
                        loop = self._consumer_loop(shutdown)
                        await self._liveness.watched(loop.name, loop.run())
                    await self._shut_down()
                finally:
                    await cancel(until_the_end)
        finally:
            await self._dispatcher.cancel()
            await self._reading.aclose()
            await self._writing.aclose()
            self._log.info("worker stopped")

    def _loops_until_the_end(self) -> Iterator[Coroutine[object, object, None]]:
        watched, service = self._liveness.watched, self._worker.service
        yield watched(f"replies of {service}", self._replies.run())
        yield watched(f"late commands of {service}", self._copies.run())
        yield watched(f"renewal of commands of {service}", self._renewal.run())
        yield watched(f"clock of {service}", self._clock.run(self._log))
        yield watched(f"loop watch of {service}", LoopWatch(self._dispatcher.handler_of, self._log).run())
        if self._inbox is not None:
            yield watched(f"upkeep of the inbox of {service}", self._inbox.run_upkeep(self._log))
            yield watched(f"readiness of the inbox of {service}", self._watch_inbox(self._inbox))

    async def _watch_inbox(self, inbox: OpenInbox) -> None:
        """Note for `health --ready` whether the inbox can be used; its handlers find that out by themselves."""
        service, awaited = self._worker.service, self._liveness.awaited
        while True:
            with waiting():
                await asyncio.sleep(INBOX_WATCHED_EVERY_S)
            try:
                async with asyncio.timeout(INBOX_ANSWER_S_MAX):
                    await inbox.check()
            except (InboxUnavailable, InboxNotCreated) as error:
                awaited[service] = f"worker '{service}' waits for its inbox: {error}"
            except TimeoutError:
                # All connections are with handlers, perhaps: nothing new is known.
                continue
            else:
                awaited.pop(service, None)

    def _consumer_loop(self, shutdown: Shutdown) -> ConsumerLoop:
        pace = Pace(
            read_block_ms=self._options.read_block_ms,
            reclaim_idle_ms=self._options.reclaim_idle_ms,
            reclaim_period_ms=self._options.reclaim_period_ms,
        )
        return ConsumerLoop(self._consumer, self._dispatcher.wait_for_room, self._accept, pace, shutdown, log=self._log)

    async def _start(self) -> None:
        service, awaited = self._worker.service, self._liveness.awaited
        if self._inbox is not None:
            awaited[service] = f"worker '{service}' waits for its inbox"
            await self._wait_for_inbox(self._inbox)
        awaited[service] = f"worker '{service}' waits for Redis"
        outage = Outage(self._log, "the start of the worker")
        while True:
            try:
                await self._consumer.ensure_group()
                await self._consumer.check_rights()
            except AccessDenied as error:
                # A running worker waits, since passwords get changed; at the start the settings are wrong.
                raise self._refused(f"refuses us: {error}; check user and password in its address") from error
            except (TransportUnavailable, StreamLost) as error:
                await outage.wait(error)
            except TransportError as error:
                raise self._refused(f"refuses: {error}") from error
            else:
                break
        outage.over()
        # Before the first command is read, so that none is judged by a clock that is wrong.
        await self._clock.compare(self._log)
        del awaited[service]
        self._log.info("worker started", types=sorted(self._worker.handlers))

    def _refused(self, why: str) -> WorkerCannotStart:
        from saga_service.settings.sources import without_password  # a worker that starts needs no settings for it

        return WorkerCannotStart(
            f"worker '{self._worker.service}' cannot read the stream '{self._consumer.stream}' in group "
            f"'{self._consumer.group}': redis at {without_password(self._options.redis_url)} {why}"
        )

    async def _wait_for_inbox(self, inbox: OpenInbox) -> None:
        outage = Outage(self._log, "the inbox")
        while True:
            try:
                await inbox.check()
            except InboxNotCreated as error:
                raise WorkerCannotStart(f"worker '{self._worker.service}' cannot start: {error}") from error
            except InboxUnavailable as error:
                await outage.wait(error)
            else:
                outage.over()
                return

    async def _shut_down(self) -> None:
        ends_at_s = time.monotonic() + self._options.shutdown_grace_ms / 1000
        await self._dispatcher.drain(self._options.shutdown_grace_ms / 1000 * HANDLERS_PART_OF_GRACE)
        try:
            async with asyncio.timeout(max(LAST_REPLIES_S_MIN, ends_at_s - time.monotonic())):
                await self._replies.flushed()
                await self._consumer.leave()
        except (TransportError, TimeoutError) as error:
            self._log.warning(
                "redis did not take the last replies; other workers will carry out these commands again",
                commands=len(self._pending),
                error=str(error) or "no answer in time",
            )

    async def _send(self, commands: Sequence[Command]) -> list[Reply]:
        return await send(self._writing, commands)

    def _accept(self, entries: list[Entry]) -> None:
        self._pending.add(entry.id for entry in entries)
        self._dispatcher.accept(entries)

    def _passed_on(self, entry_id: str) -> None:
        self._pending.remove([entry_id])
        self._dispatcher.recheck_room()

    def _settled(self, entry_ids: Sequence[str]) -> None:
        self._pending.remove(entry_ids)
        self._consumer.settle(entry_ids)
        self._dispatcher.recheck_room()
