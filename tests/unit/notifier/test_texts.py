"""The texts of messages."""

from typing import Any

import pytest

from tests.contract.notifier.claims import payload
from tutumd.notifier.texts import write_body, write_result, write_title

NOTHING: dict[str, Any] = {
    "service": {"name": "web", "stack": None, "engine": "k8s"},
    "action": {"operation": "SCALEUP", "duration": None},
    "reason": {"code": "", "text": ""},
    "containers": {"before": 2, "after": 3},
    "calls": {"count": 0, "newest": []},
}
CALLED = {
    "count": 1,
    "newest": [{"handler": {"number": 7, "name": None}, "tag": None, "caller": "me/shop@main, run 123, by ada"}],
}


def about(event: str, **data: Any) -> dict[str, Any]:
    return {"type": event, "timestamp": "2026-01-31T03:04:05.000Z", "data": data}


def of_group(event: str, name: str | None, *lines: tuple[str, str, str]) -> dict[str, Any]:
    """Return a payload of the end of a group call, with the service, state and reason of each line."""
    return about(
        event,
        group={"number": 9, "name": name},
        group_call={"number": 12, "state": lines[0][1], "caller": "me/shop@main, by ada" if name else None},
        reason={"text": f"shop/{lines[0][0]}: {lines[0][2]}"},
        count=len(lines),
        lines=[
            {"service": {"stack": "shop", "name": name}, "action": {"state": state}, "reason": {"text": reason}}
            for name, state, reason in lines
        ],
    )


DB, WEB = ("db", "Failed", "it exited with 1"), ("web", "Canceled", "shop/db failed")
MANY = [(f"web{number}", "Success", "") for number in range(12)]


@pytest.mark.parametrize(
    ("message", "title"),
    [
        (payload(), "shop/web: redeploy failed: the image shop/web:v2 was not found"),
        (payload("action.canceled"), "shop/web: redeploy was canceled: the image shop/web:v2 was not found"),
        (payload("action.recovered", **NOTHING), "web: scaling works again"),
        (payload("action.succeeded", **NOTHING), "web: scaling succeeded"),
        (payload("action.failed", **NOTHING), "web: scaling failed"),
        (
            payload(reason={"text": "x\n" * 200}),
            ("shop/web: redeploy failed: " + "x " * 200)[:159] + "…",
        ),
        (
            about("engine.down", engine={"name": "edge"}, reason={"text": "refused"}),
            "engine edge is unavailable: refused",
        ),
        (about("engine.up", engine={"name": "edge"}, reason={"text": ""}), "engine edge is available again"),
        (
            about("target.disabled", target={"name": "oncall"}, reason={"text": "it answered 410"}),
            "notification target oncall: disabled: it answered 410",
        ),
        (about("test", target={"name": "oncall"}), "test of the notification target oncall"),
        (of_group("action.failed", "shop", DB, WEB), "group shop: 1 of 2 failed: shop/db: it exited with 1"),
        (of_group("action.canceled", None, WEB), "group 9: 1 of 1 canceled: shop/web: shop/db failed"),
        (of_group("action.succeeded", "shop", *MANY), "group shop: 12 of 12 succeeded"),
        (of_group("action.recovered", "shop", *MANY), "group shop: works again"),
    ],
)
def test_a_title_names_the_subject_and_the_reason(message: dict[str, Any], title: str) -> None:
    assert write_title(message) == title


@pytest.mark.parametrize(
    ("message", "lines"),
    [
        (
            payload(suppressed=12, log_tail="\n".join(f"line {number}" for number in range(20))),
            [
                "the image shop/web:v2 was not found",
                "2 calls, the last by the handler deploy, tag v2",
                "Failures since the last message: 12",
                "2026-01-31 03:04:05 UTC, engine docker, after 11.1 s",
                "https://t/action/a/",
                "",
                "Last lines of the log:",
                *(f"line {number}" for number in range(10, 20)),
            ],
        ),
        (
            payload(**NOTHING | {"calls": CALLED, "containers": {"before": 1, "after": 1}}),
            [
                "Called by the handler 7 (me/shop@main, run 123, by ada)",
                "2026-01-31 03:04:05 UTC, engine k8s, after 0.0 s",
                "https://t/action/a/",
            ],
        ),
        (
            payload(**NOTHING),
            ["Containers: 3, before: 2", "2026-01-31 03:04:05 UTC, engine k8s, after 0.0 s", "https://t/action/a/"],
        ),
        (
            about("test", target={"name": "oncall"}),
            ["test of the notification target oncall", "2026-01-31 03:04:05 UTC", "https://t/action/a/"],
        ),
        (
            of_group("action.failed", "shop", DB, WEB),
            [
                "shop/db: failed: it exited with 1",
                "shop/web: canceled: shop/db failed",
                "Called by me/shop@main, by ada",
                "2026-01-31 03:04:05 UTC",
                "https://t/action/a/",
            ],
        ),
        (
            of_group("action.succeeded", None, *MANY),
            [
                *(f"shop/web{number}: success" for number in range(10)),
                "and 2 more services",
                "2026-01-31 03:04:05 UTC",
                "https://t/action/a/",
            ],
        ),
    ],
)
def test_a_body_has_what_is_known(message: dict[str, Any], lines: list[str]) -> None:
    assert write_body(message, {"action": "https://t/action/a/"}).split("\n") == lines


def test_a_status_names_no_service() -> None:
    assert write_result(payload("action.started")) == "redeploy has started"
