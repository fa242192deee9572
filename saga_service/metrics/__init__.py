"""Metrics for Prometheus: what is counted, measured and asked for, and the page that is scraped.

`declarations` has every metric: its name, labels, meaning, and which processes have it. docs/metrics.md is made of it.
The engine, the lanes, the workers and the HTTP API tell observers what they do, and know nothing of metrics. An
observer adds to the numbers in `measurements`, which cost an addition each. `exposition` alone knows the library of
Prometheus, and is imported when the first page is asked for.
"""
