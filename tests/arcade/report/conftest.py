"""A report of two ways to train, as its page."""

from __future__ import annotations

import pytest

from tasks.arcade import report
from tasks.arcade.report import Findings


@pytest.fixture(scope="session")
def page(two_ways: Findings) -> str:
    return report.render_html(two_ways)
