"""What doctor says about notifications."""

from datetime import UTC, datetime

import pytest

from tutumd.main.stored_findings import check_notifications
from tutumd.model import Level
from tutumd.store.upkeep.checkup import Contents

NOTHING = "nobody is notified of failures"


@pytest.mark.parametrize(
    ("targets", "disabled", "dead", "delay_s", "found"),
    [
        (0, 0, 0, 0.0, [(Level.OK, NOTHING)]),
        (2, 0, 0, 300.0, [(Level.OK, "no notification is late; targets: 2")]),
        (2, 0, 0, 301.0, [(Level.WRONG, "no notifier has claimed a notification that has been due for 301 s")]),
        (2, 1, 3, 0.0, [(Level.WARNING, "disabled"), (Level.WARNING, "could not be sent"), (Level.OK, "targets: 2")]),
    ],
)
def test_what_is_found_about_notifications(
    targets: int, disabled: int, dead: int, delay_s: float, found: list[tuple[Level, str]]
) -> None:
    contents = Contents(
        secret=None,
        newest=None,
        direct=(),
        engines={},
        now=datetime(2026, 1, 1, tzinfo=UTC),
        installation="",
        targets=targets,
        disabled=disabled,
        dead=dead,
        notification_delay_s=delay_s,
    )
    findings = list(check_notifications(contents))
    assert [each.level for each in findings] == [level for level, _ in found]
    assert all(text in each.text for each, (_, text) in zip(findings, found, strict=True))
