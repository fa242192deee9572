"""The tables of docs/metrics.md, made from the declarations: `python -m saga_service.metrics.reference PAGE`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from saga_service.metrics.declarations import DECLARED, HTTP, SERVICE, WORKER, Metric, Scope

BEGINNING, END = "<!-- made by: make docs -->\n", "<!-- end -->\n"


def metrics_reference() -> str:
    """All metrics, in tables for their readers: by whose numbers they are, and which processes export them."""
    return "\n".join(line for heading, metrics in _sections() for line in _section(heading, metrics))


def _sections() -> Iterator[tuple[str, list[Metric]]]:
    state = [metric for metric in DECLARED if metric.scope is Scope.DEPLOYMENT]
    own = [metric for metric in DECLARED if metric.scope is Scope.PROCESS]
    yield "Of the deployment: `run` and `http`, `max()`", state
    yield "Of each process: `run`", [metric for metric in own if metric.processes == (SERVICE,)]
    yield (
        "Of each process: `worker`, and `run` with workers inside",
        [each for each in own if each.processes == (WORKER,)],
    )
    yield "Of each process: `http`, and `run` with the API inside", [each for each in own if each.processes[0] == HTTP]
    yield (
        "Of several kinds of processes",
        [each for each in own if len(each.processes) > 1 and each.processes[0] != HTTP],
    )


def _section(heading: str, metrics: list[Metric]) -> Iterator[str]:
    yield from (f"### {heading}", "", "| Metric | Type | Labels | Meaning |", "|---|---|---|---|")
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |"
    yield ""


def tables_in(page: str) -> str:
    """The part of the page that is made."""
    match = re.search(re.escape(BEGINNING) + r"(.*?)" + re.escape(END), page, re.DOTALL)
    return match[1] if match else ""


def main(path: Path) -> None:
    page = path.read_text()
    path.write_text(page.replace(BEGINNING + tables_in(page), BEGINNING + metrics_reference()))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
