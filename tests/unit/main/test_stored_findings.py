"""What doctor says about notifications and about issuers of identity tokens."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tutumd.main.stored_findings import check_issuers, check_notifications
from tutumd.model import Level
from tutumd.store.upkeep.checkup import Contents

NOTHING = "nobody is notified of failures"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
EMPTY = Contents(
    secret=None,
    newest=None,
    direct=(),
    engines={},
    now=NOW,
    installation="",
    targets=0,
    disabled=0,
    dead=0,
    notification_delay_s=0.0,
)


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
    contents = replace(EMPTY, targets=targets, disabled=disabled, dead=dead, notification_delay_s=delay_s)
    findings = list(check_notifications(contents))
    assert [each.level for each in findings] == [level for level, _ in found]
    assert all(text in each.text for each, (_, text) in zip(findings, found, strict=True))


@pytest.mark.parametrize(
    ("fetched", "error", "level", "text"),
    [
        (NOW - timedelta(minutes=5), "", Level.OK, "the keys of https://a.example were fetched 5 minutes ago"),
        (NOW - timedelta(hours=24), "it is off", Level.OK, "were fetched 1440 minutes ago"),
        (NOW - timedelta(hours=25), "it is off", Level.WRONG, "since 2025-12-30 23:00 UTC, so calls with its identity"),
        (None, "", Level.WRONG, "were not fetched yet, so calls with its identity tokens get 503: no notifier has"),
    ],
)
def test_what_is_found_about_issuers(fetched: datetime | None, error: str, level: Level, text: str) -> None:
    assert list(check_issuers(EMPTY)) == []
    (found,) = check_issuers(replace(EMPTY, issuers={"https://a.example": (fetched, error)}))
    assert found.level is level
    assert text in found.text
    assert level is Level.OK or not error or found.text.endswith(error)
