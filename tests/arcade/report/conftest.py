"""The HTML page of a report on two approaches."""

from __future__ import annotations

import pytest

from tasks.arcade import report
from tasks.arcade.report import Findings


@pytest.fixture(scope="session")
def page(two_approaches: Findings) -> str:
    return report.render_report_html(two_approaches)
