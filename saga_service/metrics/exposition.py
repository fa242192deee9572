"""The page that Prometheus scrapes, in the format that it asks for.

Beside the declared metrics the page has those of the client library about the process itself (`process_*`, `python_*`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from saga_service.metrics.measurements import Histogram, Measurements


class Exposition:
    """Writes pages out of the measurements of one process."""

    def __init__(self, measurements: Measurements) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Measured(measurements))
        for library_collector in (ProcessCollector, PlatformCollector, GCCollector):
            library_collector(registry=self._registry)

    def page(self, accept: str) -> tuple[bytes, str]:
        """The page as it is now, and its media type. `accept` is the header of the request."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type


class _Measured(Collector):
    def __init__(self, measurements: Measurements) -> None:
        self._measurements = measurements

    def collect(self) -> Iterator[Metric]:
        for metric, counter in self._measurements.counters():
            counted = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in counter.items():
                counted.add_metric(labels, value)
            yield counted
        for metric, histogram in self._measurements.histograms():
            measured = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, series in histogram.series.items():
                measured.add_metric(labels, _buckets(histogram, series.counts), series.sum)
            yield measured
        for metric, values in self._measurements.gauges():
            read = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for labels, value in values:
                read.add_metric(labels, value)
            yield read


def _buckets(histogram: Histogram, counts: list[int]) -> list[tuple[str, float]]:
    """Each upper bound with the number of values up to it."""
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    return list(zip(bounds, accumulate(counts), strict=True))
