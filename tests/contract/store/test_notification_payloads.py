"""What a notification says of an action: the payload, as the reference documents it."""

import json
from pathlib import Path
from typing import Any

from tests.contract.store.test_notifier_queue import add, stored
from tests.contract.store.test_outbox import end, send_all
from tests.support.stores import StoreBed
from tutumd.model import Outcome, ReasonCode
from tutumd.model.notifications import MAX_PAYLOAD_BYTES, encode

DOCS = Path(__file__).parents[3] / "docs"


def test_the_payload_has_what_happened_and_no_credential(bed: StoreBed) -> None:
    add(bed, include_log=True)
    handler = bed.handler("web")
    for _ in range(25):
        bed.call(handler)
    claimed = bed.claimed()
    bed.clock.move(2.5)
    outcome = Outcome(
        success=False,
        reason="it exited with 7",
        reason_code="exited",
        log_tail="é" * 30_000 + "\nlast",
        image_before="sha256:1",
        image_tried="sha256:2",
        containers_before=("web-c1", "web-c2"),
        containers_after=("web-c1",),
    )
    bed.queue.finish(claimed, outcome, None)
    assert stored(bed)[0].payload == {}
    (notification,) = send_all(bed)
    assert stored(bed)[0].payload == notification.payload
    payload = dict(notification.payload)
    assert MAX_PAYLOAD_BYTES - 4 < len(encode(payload)) <= MAX_PAYLOAD_BYTES
    assert (payload["type"], payload["timestamp"]) == ("action.failed", "2026-01-01T00:00:02.500Z")
    data = payload["data"]
    log_tail = data.pop("log_tail")
    assert log_tail.endswith("é\nlast")
    assert data.pop("service") == {"uuid": handler.service_uuid, "name": "web", "stack": "", "engine": "docker"}
    action = data.pop("action")
    assert (action["uuid"], action["operation"], action["state"]) == (claimed.action.uuid, "REDEPLOY", "Failed")
    assert (action["started"], action["duration"]) == ("2026-01-01T00:00:00.000Z", 2.5)
    calls = data.pop("calls")
    assert (calls["count"], len(calls["newest"])) == (25, 20)
    assert calls["newest"][0] == {
        "handler": {"number": handler.number, "name": None},
        "received": "2026-01-01T00:00:00.000Z",
        "tag": None,
        "caller": None,
    }
    assert data == {
        "reason": {"code": "exited", "text": "it exited with 7"},
        "image": {"before": "sha256:1", "after": None, "tried": "sha256:2"},
        "containers": {"before": 2, "after": 1},
        "suppressed": 0,
    }
    assert handler.uuid not in encode(notification.payload).decode()


def shape(value: Any) -> Any:
    """Return the names of the fields of a JSON value."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items() if name != "links"}
    return [shape(each) for each in value[:1]] if isinstance(value, list) else None


def test_the_reference_has_each_field_and_each_reason_code(bed: StoreBed) -> None:
    add(bed, include_log=True)
    end(bed, log_tail="last")
    text = (DOCS / "reference/notifications.md").read_text()
    example = json.loads(text.partition("```json\n")[2].partition("```")[0])
    assert shape(send_all(bed)[0].payload) == shape(example)
    assert [code for code in ReasonCode if f"| `{code}` |" not in text] == []


def test_without_include_log_no_log_is_stored(bed: StoreBed) -> None:
    add(bed)
    end(bed, log_tail="secret")
    assert "log_tail" not in send_all(bed)[0].payload["data"]
