"""The dashboard for tests of its pages."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dashboard_bed import DashboardBed, serve_dashboard
from tests.support.stores import open_store


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[DashboardBed]:
    """The dashboard of a new installation: a worker serves the engine `docker`, which shows nothing yet."""
    with open_store(f"sqlite:///{tmp_path / 'test.db'}") as bed, serve_dashboard(bed) as served:
        yield served
