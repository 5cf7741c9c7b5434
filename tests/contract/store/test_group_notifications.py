"""Handler calls: each target is told of the end of a call once, or of each action."""

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from tests.contract.store.test_groups import accepted, add_group
from tests.contract.store.test_notification_payloads import DOCS, shape
from tests.contract.store.test_notifier_queue import add, stored
from tests.contract.store.test_outbox import ALL
from tests.support.stores import StoreBed
from tutumd.model import ActionState, Handler, Outcome
from tutumd.model.groups import MAX_SERVICES
from tutumd.model.notifications import MAX_PAYLOAD_BYTES, Notification, encode
from tutumd.notifier.texts import page_links
from tutumd.web.api.notifications import NOTIFICATION
from tutumd.web.api.schemas import show
from tutumd.web.messages.notifications import name_subject

pytestmark = pytest.mark.dialect


@pytest.fixture
def shop(bed: StoreBed) -> Handler:
    """A group of three services."""
    bed.show("db", "web", "mail")
    return add_group(bed, "db", "web", "mail")


def run(bed: StoreBed, *, failing: Sequence[str] = (), canceled: Sequence[str] = (), **values: Any) -> None:
    """Perform all pending actions; the worker then finds nothing more to do."""
    while claim := bed.claim():
        name = claim.service.name
        success, is_canceled = name not in (*failing, *canceled), name in canceled
        reason = {} if success else {"reason_code": "exited", "reason": "it exited with 1", **values}
        bed.queue.finish(claim, Outcome(success=success, canceled=is_canceled, **reason), None)


def messages(bed: StoreBed, name: str = "oncall") -> list[Notification]:
    """Return the messages to a target, oldest first."""
    return [each for each in reversed(stored(bed)) if each.target_name == name]


def events(bed: StoreBed, name: str = "oncall") -> list[str]:
    return [each.event.value.removeprefix("action.") for each in messages(bed, name)]


def names(message: Notification) -> list[str]:
    return [line["service"]["name"] for line in message.payload["data"]["lines"]]


def test_a_target_is_told_of_all_actions_together_or_of_each(bed: StoreBed, shop: Handler) -> None:
    add(bed, events=ALL)
    add(bed, events=ALL, name="apart", per_group_call=False)
    call = accepted(bed, shop)
    run(bed, failing=["db"], canceled=["web"])
    (message,) = messages(bed)
    data = message.payload["data"]
    assert (message.event, message.group_call) == ("action.failed", call.number)
    assert data["group"] == {"number": shop.number, "name": "all"}
    assert (data["group_call"]["number"], data["group_call"]["state"]) == (call.number, "Failed")
    assert data["reason"] == {"code": "exited", "text": "db: it exited with 1"}
    assert [(line["service"]["name"], line["action"]["state"]) for line in data["lines"]] == [
        ("db", "Failed"),
        ("web", "Canceled"),
        ("mail", "Success"),
    ]
    assert sorted(events(bed, "apart")) == ["canceled", "failed", "succeeded"]
    assert shop.uuid not in encode(message.payload).decode()
    assert page_links(message, "https://t") == {"group_call": f"https://t/groupcall/{call.number}/"}
    assert name_subject(message) == "group all"
    assert show(NOTIFICATION, message)["group_call"] == f"/api/v1/webhook/groupcall/{call.number}/"


def test_the_reference_has_each_field_of_a_group_call(bed: StoreBed, shop: Handler) -> None:
    add(bed)
    accepted(bed, shop)
    run(bed, failing=["db"])
    text = (DOCS / "reference/notifications.md").read_text()
    examples = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    (example,) = [each for each in examples if "group" in each["data"]]
    assert shape(messages(bed)[0].payload) == shape(example)


def test_it_is_told_after_the_last_action_has_ended(bed: StoreBed, shop: Handler) -> None:
    add(bed, events=ALL)
    accepted(bed, shop)
    for _ in range(2):
        bed.finish(bed.claimed())
    last = bed.claimed()
    assert messages(bed) == []
    bed.finish(last)
    assert bed.claim() is None
    assert events(bed) == ["succeeded"]


def test_calls_with_the_same_actions_cause_one_message(bed: StoreBed, shop: Handler) -> None:
    add(bed, events=ALL)
    first, second = accepted(bed, shop), accepted(bed, shop)
    other = accepted(bed, add_group(bed, "db", "web"))
    running = bed.claimed()
    third = accepted(bed, shop)
    bed.finish(running)
    run(bed)
    told = {each.group_call: each.payload["data"]["calls"]["count"] for each in messages(bed)}
    assert told == {first.number: 2, other.number: 1, third.number: 1}
    states = {bed.store.group_call(bed.admin, each.number).state for each in (first, second, other, third)}
    assert states == {ActionState.SUCCESS}


def test_an_action_that_the_call_joined_is_told_alone_and_together(bed: StoreBed, shop: Handler) -> None:
    add(bed, events=ALL)
    alone = bed.call(bed.handler("web"))
    accepted(bed, shop)
    bed.call(bed.handler("db"))
    run(bed)
    assert [each.action_uuid for each in messages(bed)] == [alone, None]
    assert names(messages(bed)[1]) == ["db", "web", "mail"]


def test_a_target_of_a_service_is_told_of_its_line_only(bed: StoreBed, shop: Handler) -> None:
    add(bed, events=ALL, service_uuid=bed.service_uuid("mail"))
    accepted(bed, shop)
    run(bed, failing=["db"])
    assert events(bed) == ["succeeded"]
    assert names(messages(bed)[0]) == ["mail"]


def test_an_equal_failure_is_told_once_and_the_first_success_says_so(bed: StoreBed, shop: Handler) -> None:
    add(bed, events=ALL, repeat_s=3600)
    for _ in range(3):
        accepted(bed, shop)
        run(bed, failing=["db"])
        bed.clock.move(60)
    accepted(bed, shop)
    run(bed, failing=["db"], reason_code="timeout")
    for _ in range(2):
        accepted(bed, shop)
        run(bed)
    assert events(bed) == ["failed", "failed", "recovered", "succeeded"]
    assert [each.payload["data"]["suppressed"] for each in messages(bed)] == [0, 0, 2, 0]


def test_a_message_has_the_lines_that_fit(bed: StoreBed) -> None:
    long = [f"{'ä' * 200}{number:02}" for number in range(MAX_SERVICES)]
    bed.show(*long)
    add(bed)
    accepted(bed, add_group(bed, *long))
    run(bed, failing=long, reason="x" * 3000)
    data = messages(bed)[0].payload["data"]
    assert data["count"] == MAX_SERVICES
    assert 10 < len(data["lines"]) < MAX_SERVICES
    assert len(encode(messages(bed)[0].payload)) <= MAX_PAYLOAD_BYTES
    assert {len(line["reason"]["text"]) for line in data["lines"]} == {200}
