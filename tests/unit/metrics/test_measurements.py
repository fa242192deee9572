"""Numbers in memory, and the page that is made of them."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from saga_service.metrics import declarations
from saga_service.metrics.exposition import Exposition
from saga_service.metrics.measurements import Measurements


def samples(measurements: Measurements) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    content, _ = Exposition(measurements).page("")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in read_text(content.decode())
        for sample in family.samples
    }


def test_a_counter_without_labels_is_there_before_anything_is_counted() -> None:
    measurements = Measurements()
    batches = measurements.counter(declarations.BATCHES)
    assert samples(measurements)["saga_batches_total", ()] == 0
    batches[()] += 2
    assert samples(measurements)["saga_batches_total", ()] == 2


def test_one_counter_is_shared_by_all_who_count() -> None:
    measurements = Measurements()
    measurements.counter(declarations.STARTS)["order",] += 1
    measurements.counter(declarations.STARTS)["order",] += 1
    assert samples(measurements)["saga_starts_total", (("saga", "order"),)] == 2


@pytest.mark.parametrize(
    ("value", "bounds_that_hold_it"),
    [
        (0.0005, {"0.001", "0.0025", "+Inf"}),
        (0.001, {"0.001", "0.0025", "+Inf"}),
        (0.0011, {"0.0025", "+Inf"}),
        (99.0, {"+Inf"}),
    ],
)
def test_a_value_is_in_every_bucket_whose_bound_is_not_below_it(value: float, bounds_that_hold_it: set[str]) -> None:
    measurements = Measurements()
    measurements.histogram(declarations.COMMIT).observe((), value)
    found = samples(measurements)
    for bound in ("0.001", "0.0025", "+Inf"):
        assert found["saga_commit_seconds_bucket", (("le", bound),)] == (bound in bounds_that_hold_it), bound
    assert found["saga_commit_seconds_count", ()] == 1
    assert found["saga_commit_seconds_sum", ()] == pytest.approx(value)


def test_a_value_below_zero_of_clocks_that_differ_counts_as_zero() -> None:
    measurements = Measurements()
    measurements.histogram(declarations.COMMIT).observe((), -5.0)
    found = samples(measurements)
    assert (found["saga_commit_seconds_bucket", (("le", "0.001"),)], found["saga_commit_seconds_sum", ()]) == (1, 0)


def test_a_gauge_is_read_when_somebody_asks() -> None:
    measurements, lanes = Measurements(), [1, 2]
    measurements.gauge(declarations.LANES, lambda: len(lanes))
    lanes.append(3)
    assert samples(measurements)["saga_lanes", ()] == 3


def test_gauges_of_several_workers_stand_together() -> None:
    measurements = Measurements()
    measurements.labelled_gauge(declarations.SLOTS, lambda: [(("payment",), 4)])
    measurements.labelled_gauge(declarations.SLOTS, lambda: [(("stock",), 8)])
    content, _ = Exposition(measurements).page("")
    assert content.decode().count("# TYPE saga_worker_slots gauge") == 1
    assert samples(measurements)["saga_worker_slots", (("service", "stock"),)] == 8


def test_the_page_is_in_the_format_that_is_asked_for_and_has_the_process_itself() -> None:
    measurements = Measurements()
    measurements.counter(declarations.STARTS)['a"b\n',] += 1
    text, plain = Exposition(measurements).page("")
    content, media_type = Exposition(measurements).page("application/openmetrics-text;version=1.0.0")
    assert plain.startswith("text/plain")
    assert media_type.startswith("application/openmetrics-text")
    assert "process_cpu_seconds" in {family.name for family in read_text(text.decode())}
    families = read_openmetrics(content.decode())  # type: ignore[no-untyped-call]  # its module has no types
    [starts] = [family for family in families if family.name == "saga_starts"]
    assert [sample.labels for sample in starts.samples] == [{"saga": 'a"b\n'}]
