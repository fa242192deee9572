"""A pytest plugin that shows the timelines of all sagas of a failed test.

A `conftest.py` enables it by `pytest_plugins = ["saga_service.testing.pytest_plugin"]`.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from saga_service.testing.simulation import LIVE


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    # The failure of an earlier test may keep its simulations alive.
    LIVE.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and report.failed:
        timelines = [saga.timeline() for simulation in list(LIVE.values()) for saga in simulation.sagas]
        if timelines:
            report.sections.append(("Simulated sagas", "\n".join(timelines)))
    return report
