"""Checks of processes: which replicas and workers are alive, and whether they have what the definitions need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime

from saga_service.admin.views import ProcessRow
from saga_service.admin.worker_handlers import descriptions_of, services_named_alone, services_of
from saga_service.cli.checks.findings import Finding, ok, problem
from saga_service.cli.console.output import duration
from saga_service.core.state import JsonObject
from saga_service.definitions import DefinedSaga, readable_saga_spec
from saga_service.definitions.compatibility import compare

NAMED_MAX = 10


def process_findings(
    rows: Sequence[ProcessRow], documents: Sequence[JsonObject], read_by_others: Collection[str]
) -> Iterator[Finding]:
    """All findings. `documents` are the deployed definitions, `read_by_others` services whose workers do not report."""
    alive = [row for row in rows if row.status == "alive"]
    replicas = [row for row in alive if row.kind == "service"]
    workers = [row for row in alive if row.kind == "worker"]
    if replicas:
        yield ok("replicas", _listed(replicas, rows, "service"))
    else:
        yield problem("replicas", f"no service is alive{_lost(rows, 'service')}", "start one: saga-service run")
    yield ok("workers", _listed(workers, rows, "worker"))
    if replicas:
        yield _definitions(replicas)
        # Only services copy the reports of workers: without one nothing is known of those.
        yield from _handlers(workers, documents, read_by_others)


def groups_read(rows: Sequence[ProcessRow]) -> dict[str, set[str]]:
    """The groups in which workers that are alive read, by stream."""
    found = defaultdict(set)
    for row in rows:
        if row.kind == "worker" and row.status == "alive":
            for each in row.reads:
                found[str(each.get("stream"))].add(str(each.get("group")))
    return dict(found)


def _listed(alive: Sequence[ProcessRow], rows: Sequence[ProcessRow], kind: str) -> str:
    names = _named([row.name for row in alive])
    return (f"{len(alive)} alive: {names}" if alive else "none is known") + _lost(rows, kind)


def _lost(rows: Sequence[ProcessRow], kind: str) -> str:
    now = datetime.now(UTC)
    lost = [f"{row.name}, seen {duration(now - row.last_seen_at)} ago" for row in rows if _is_lost(row, kind)]
    return f"; lost within a day: {_named(lost, '; ')}" if lost else ""


def _is_lost(row: ProcessRow, kind: str) -> bool:
    return row.kind == kind and row.status == "lost"


def _named(names: Sequence[str], between: str = ", ") -> str:
    more = len(names) - NAMED_MAX
    return between.join(names[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def _definitions(replicas: Sequence[ProcessRow]) -> Finding:
    """Whether all replicas have the same version of each saga."""
    sagas = sorted({saga for row in replicas for saga in row.definitions})
    differing = [saga for saga in sagas if len({row.definitions.get(saga) for row in replicas}) > 1]
    if not differing:
        return ok("definitions", f"every replica has the same {len(sagas)}")
    return problem(
        "definitions",
        "replicas differ: " + "; ".join(_by_version(saga, replicas) for saga in differing[:NAMED_MAX]),
        "right while they are rolled out; else give all replicas the same SAGA_DEFINITIONS",
    )


def _by_version(saga: str, replicas: Sequence[ProcessRow]) -> str:
    having = defaultdict(list)
    for row in replicas:
        having[row.definitions.get(saga)].append(row.name)
    parts = [f"{version or 'not there'} on {_named(names)}" for version, names in having.items()]
    return f"{saga} is {', '.join(parts)}"


def _handlers(
    workers: Sequence[ProcessRow], documents: Sequence[JsonObject], read_by_others: Collection[str]
) -> Iterator[Finding]:
    described = services_of(workers)
    specs = [spec for document in documents if (spec := readable_saga_spec(document)) is not None]
    every = [description for descriptions in described.values() for description in descriptions]
    elsewhere = [service for service in read_by_others if service not in described]
    elsewhere += services_named_alone(every)
    mismatches = [each for each in compare(specs, every, elsewhere) if each.is_problem]
    for mismatch in mismatches[:NAMED_MAX]:
        yield problem(
            "handlers", str(mismatch), "start or mend its workers: what a definition needs is missing, or does not fit"
        )
    if not mismatches:
        yield ok("handlers", "all that the deployed definitions need is there")
    yield from _partly_there(workers, specs)


def _partly_there(workers: Sequence[ProcessRow], specs: Iterable[DefinedSaga]) -> Iterator[Finding]:
    """Commands that some workers of a service carry out and others do not."""
    needed = {
        command
        for spec in specs
        for step in spec.definition.steps
        for command in (step.action, step.compensation, step.probe)
        if command is not None
    }
    types: dict[str, dict[str, set[str]]] = defaultdict(dict)
    for row in workers:
        described, _ = descriptions_of(row)
        for description in described:
            if description.handlers:
                types[description.service][row.name] = {handler.type for handler in description.handlers}
    for service, by_worker in types.items():
        everything = set().union(*by_worker.values()) & needed
        lacking = {name: sorted(everything - has) for name, has in by_worker.items() if everything - has}
        if lacking:
            text = _named([f"{name} has no {', '.join(missing)}" for name, missing in lacking.items()], "; ")
            yield problem(
                "handlers",
                f"workers of '{service}' differ: {text}",
                "right while they are rolled out; else replace those of the older release",
            )
