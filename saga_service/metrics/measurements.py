"""The numbers behind the metrics of one process.

Numbers are plain, because they change on the hot path: a counter is an addition to a dictionary, a histogram a search
in a list of a dozen bounds. All of it happens in the event loop's thread, so nothing is locked.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from saga_service.metrics.declarations import Kind, Metric

Labels = tuple[str, ...]
"""The values of a metric's labels, in the order of their names."""
ReadGauge = Callable[[], Iterable[tuple[Labels, float]]]
"""Reads the values of a gauge as they are now."""


class Series:
    """The values of a histogram for one combination of labels: the counts of its buckets, and the sum."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Add one value. A value below 0, of clocks that differ, counts as 0."""
        if value > 0.0:
            self.sum += value
            self.counts[bisect_left(self._bounds, value)] += 1
        else:
            self.counts[0] += 1


class Histogram:
    """The values of one histogram, by labels."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.series: dict[Labels, Series] = {}

    def series_of(self, labels: Labels) -> Series:
        """The values with these labels, for whoever adds many of them."""
        series = self.series.get(labels)
        if series is None:
            series = self.series[labels] = Series(self.bounds)
        return series

    def observe(self, labels: Labels, value: float) -> None:
        """Add one value."""
        self.series_of(labels).add(value)


Counter = defaultdict[Labels, float]
"""The values of one counter, by labels: `counter[labels] += 1`."""


class Gauge(NamedTuple):
    """A gauge that is read when somebody asks."""

    metric: Metric
    read: ReadGauge


class Measurements:
    """All numbers of one process, by metric."""

    def __init__(self) -> None:
        self._counters: dict[Metric, Counter] = {}
        self._histograms: dict[Metric, Histogram] = {}
        self._gauges: list[Gauge] = []

    def counter(self, metric: Metric) -> Counter:
        """The values of a counter. One without labels is there from the beginning, at 0."""
        assert metric.kind is Kind.COUNTER, metric.name
        if metric not in self._counters:
            self._counters[metric] = defaultdict(int) if metric.labels else defaultdict(int, {(): 0})
        return self._counters[metric]

    def histogram(self, metric: Metric) -> Histogram:
        """The values of a histogram."""
        assert metric.kind is Kind.HISTOGRAM, metric.name
        return self._histograms.setdefault(metric, Histogram(metric.bounds))

    def gauge(self, metric: Metric, read: Callable[[], float]) -> None:
        """Have a gauge without labels read at each scrape."""
        assert not metric.labels, metric.name
        self.labelled_gauge(metric, lambda: [((), read())])

    def labelled_gauge(self, metric: Metric, read: ReadGauge) -> None:
        """Have a gauge read at each scrape: a number for each combination of its labels."""
        assert metric.kind is Kind.GAUGE, metric.name
        self._gauges.append(Gauge(metric, read))

    def counters(self) -> Iterator[tuple[Metric, Mapping[Labels, float]]]:
        yield from self._counters.items()

    def histograms(self) -> Iterator[tuple[Metric, Histogram]]:
        yield from self._histograms.items()

    def gauges(self) -> Iterator[tuple[Metric, list[tuple[Labels, float]]]]:
        """The values of the gauges. Those that several parts of a process have stand together."""
        values: dict[Metric, list[tuple[Labels, float]]] = {}
        for metric, read in self._gauges:
            values.setdefault(metric, []).extend(read())
        yield from values.items()
