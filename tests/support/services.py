"""Services as the store has them, for tests of what reads only some of their fields."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tutumd.model import Service, ServiceState


def service_row(*, engine: str, selector: str, **fields: Any) -> Service:
    """Return the row of the service `web` of one container, with other values for `fields`."""
    row = Service(
        uuid="5e4f1ce0-0000-4000-8000-000000000001",
        engine=engine,
        engine_kind=engine,
        selector=selector,
        name="web",
        stack="",
        full_name="web",
        owner="admin",
        bound=True,
        state=ServiceState.RUNNING,
        target=1,
        running=1,
        stopped=0,
        image_name="",
        image_digest=None,
        run_command="",
        definition=None,
        deployed=None,
        created=datetime(2026, 1, 1, tzinfo=UTC),
        warnings=(),
        containers=(),
    )
    return replace(row, **fields)
