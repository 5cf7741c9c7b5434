"""Whether a sender is connected: each check in each state, and what to mend."""

from typing import Any

import pytest

from tests.unit.application.made_deliveries import delivery_of
from tests.unit.application.made_handlers import make_handler
from tutumd.application.connection import (
    Check,
    Connection,
    Stage,
    choose_delivery,
    describe_calls,
    judge_connection,
)
from tutumd.application.senders import SENDERS
from tutumd.model import Delivery

MAIN = {"verify": {"preset": "github", "secrets": ["x"]}, "filter": {"preset": "branch", "branch": "main"}}
ARRIVED = Check(text="A call arrived", state="passed", why="from 192.0.2.1, Sender/1")
RIGHT = Check(text="Its secret is right", state="passed")


def judge(key: str, *deliveries: Delivery, **document: Any) -> Connection:
    return judge_connection(SENDERS.get(key), make_handler(document or MAIN), deliveries)


def test_before_the_first_call_it_says_what_will_be_checked() -> None:
    connection = judge("github")
    assert connection == Connection(
        stage=Stage.WAITING,
        title="Waiting for the first call from GitHub",
        mend="",
        checks=(
            Check(
                text="A call arrives",
                state="waiting",
                why="GitHub sends a ping as soon as you add the webhook.",
            ),
            Check(text="Its secret is right", state="waiting"),
            Check(text="It counts", state="waiting", why="Only pushes to the branch main."),
            Check(text="An action is queued", state="waiting"),
            Check(text="The action succeeds", state="waiting"),
        ),
    )
    unsigned = judge("curl", name="curl")
    assert [check.text for check in unsigned.checks][:2] == ["A call arrives", "It counts"]
    assert judge("nobody").title == "Waiting for the first call from the sender"


def test_a_ping_counts_as_connected() -> None:
    ping = delivery_of("skipped", "it is a ping")
    assert judge("github", ping) == Connection(
        stage=Stage.CONNECTED,
        title="GitHub's ping arrived: connected",
        mend="",
        checks=(
            ARRIVED,
            RIGHT,
            Check(text="It is a ping", state="passed", why="It runs nothing. Only pushes to the branch main."),
        ),
        delivery=ping,
        is_settled=True,
    )


@pytest.mark.parametrize(
    ("state", "reason", "check", "stage", "title", "is_settled"),
    [
        ("Pending", "", ("waiting", "Pending"), Stage.CONNECTED, "GitHub is connected", False),
        ("In progress", "", ("waiting", "In progress"), Stage.CONNECTED, "GitHub is connected", False),
        ("Success", "", ("passed", ""), Stage.CONNECTED, "GitHub is connected", True),
        ("Success", "a note", ("passed", "a note"), Stage.CONNECTED, "GitHub is connected", True),
        (
            "Failed",
            "no image",
            ("failed", "no image"),
            Stage.FAILED,
            "GitHub is connected, and the action failed",
            True,
        ),
        (
            "Canceled",
            "",
            ("failed", "Canceled"),
            Stage.FAILED,
            "GitHub is connected, and the action was canceled",
            True,
        ),
    ],
)
def test_a_call_that_counts_is_followed_to_the_end_of_its_action(
    state: str, reason: str, check: tuple[str, str], stage: Stage, title: str, is_settled: bool
) -> None:
    connection = judge("github", delivery_of("queued", action_state=state, action_reason=reason))
    assert (connection.stage, connection.title, connection.is_settled) == (stage, title, is_settled)
    assert connection.checks[:4] == (
        ARRIVED,
        RIGHT,
        Check(text="It counts", state="passed"),
        Check(text="An action is queued", state="passed"),
    )
    last = connection.checks[4]
    assert (last.text, last.state, last.why) == ("The action redeploys the service", *check)


def test_what_the_call_joined_or_named_is_told() -> None:
    tagged = judge("dockerhub", delivery_of("joined", "a note", tag="v2"), filter={"preset": "tag", "tag": "v2"})
    assert tagged.checks[1:4] == (
        Check(
            text="No secret is asked for",
            state="skipped",
            why="Docker Hub signs nothing: the URL alone is the password",
        ),
        Check(text="It counts", state="passed", why="it names the tag v2; a note"),
        Check(text="An action is queued", state="passed", why="it joined an action that was waiting"),
    )
    replaced = judge("github", delivery_of("superseded", "a later call named the tag 'v3'"))
    assert replaced.checks[3].why == "it joined an action; a later call named the tag 'v3'"
    repeated = judge("github", delivery_of("repeated", "it repeats an earlier delivery"))
    assert repeated.checks[3].why == "it repeats an earlier call, and nothing runs twice"
    assert (len(repeated.checks), repeated.is_settled, repeated.stage) == (4, True, Stage.CONNECTED)
    scaling = judge("curl", delivery_of("queued"), operation="SCALEUP")
    assert scaling.checks[1].why == "the handler checks none: the URL alone is the password"
    assert scaling.checks[4].text == "The action scales up the service"
    assert scaling.title == "curl is connected"


def test_a_wrong_branch_is_genuine_and_does_not_count() -> None:
    skipped = delivery_of("skipped", "branch 'dev' is not 'main'")
    assert judge("github", skipped) == Connection(
        stage=Stage.NOT_COUNTED,
        title="Connected, but this call did not count",
        mend="Only pushes to the branch main. Send such a call, or change that on the handler's page.",
        checks=(
            ARRIVED,
            RIGHT,
            Check(text="It counts", state="failed", why="no: branch 'dev' is not 'main'"),
            Check(text="An action is queued", state="skipped"),
        ),
        delivery=skipped,
        is_settled=True,
    )
    wrong_event = judge("github", delivery_of("skipped", "the payload names no pushed branch (event 'issues'); wanted"))
    assert wrong_event.mend == (
        "Only pushes to the branch main. Let GitHub send such events (Just the push event) and application/json."
    )


@pytest.mark.parametrize(
    ("key", "reason", "mend"),
    [
        (
            "github",
            "the header X-Hub-Signature-256 is missing",
            "GitHub sent no secret: enter this handler's in its field Secret, then send the call again.",
        ),
        (
            "github",
            "X-Hub-Signature-256 does not match the body",
            "GitHub has another secret: enter this handler's in its field Secret. If it is lost, make a new one below.",
        ),
        (
            "gitea",
            "X-Gitea-Signature does not match the body",
            "Gitea or Forgejo has another secret: enter this handler's in its field Secret. If it is lost, make a new"
            " one below. With the content type of a form this fails as well: choose application/json.",
        ),
        (
            "alertmanager",
            "Authorization is not of the form Bearer TOKEN",
            "Let Alertmanager send Authorization: Bearer, a space, and the secret.",
        ),
        (
            "gitlab",
            "webhook-timestamp is more than 5 minutes off",
            "Compare the clocks of the sender and of this server.",
        ),
        (
            "harbor",
            "the header Authorization occurs 2 times",
            "Something between the sender and this server adds the header again: look at the proxies.",
        ),
        (
            "nobody",
            "the token in X-Gitlab-Token is wrong",
            "The sender has another secret: enter this handler's in its settings. If it is lost, make a new one below.",
        ),
    ],
)
def test_a_wrong_secret_says_where_to_enter_the_right_one(key: str, reason: str, mend: str) -> None:
    connection = judge(key, delivery_of("refused", reason))
    assert (connection.stage, connection.mend, connection.is_settled) == (Stage.REFUSED, mend, True)
    assert connection.checks == (
        ARRIVED,
        Check(text="Its secret is right", state="failed", why=f"no: {reason}. The sender got a 401."),
        Check(text="It counts", state="skipped"),
    )
    assert connection.title == (
        "A call arrived without the secret" if "missing" in reason else "A call arrived with a wrong secret"
    )


@pytest.mark.parametrize(
    ("reason", "mend"),
    [
        ("404: disabled", "Enable the handler on its page."),
        ("404: expired", "The handler's date is over: set a later one on its page."),
        ("404: used up", "The handler has accepted as many calls as it may: edit it, and raise Total calls."),
        (
            "404: 192.0.2.1 is not allowed",
            "Calls from this address are not allowed: edit the handler, and add the address to Networks.",
        ),
        (
            "429: this handler takes 1 calls in 60 s",
            "Wait, then send it again; or edit the handler, and raise Rate limit.",
        ),
        ("400: tag must be the tag alone", ""),
    ],
)
def test_a_handler_that_takes_no_calls_says_why(reason: str, mend: str) -> None:
    connection = judge("github", delivery_of("refused", reason, user_agent=""))
    status, _, why = reason.partition(": ")
    assert (connection.title, connection.mend) == (f"A call was refused with {status}", mend)
    assert connection.checks == (
        Check(text="A call arrived", state="passed", why="from 192.0.2.1"),
        Check(text="The handler takes calls", state="failed", why=f"no: {why}. The sender got a {status}."),
    )


def test_calls_for_one_platform_of_an_image_do_not_hide_the_one_that_ran() -> None:
    layer, ran = delivery_of("skipped", "it is a layer", number=9), delivery_of("queued", number=8)
    refused = delivery_of("refused", "the header is missing", number=7)
    assert choose_delivery([layer, ran, refused]) is ran
    assert choose_delivery([layer, refused, ran]) is layer
    assert choose_delivery([refused, ran]) is refused
    assert choose_delivery([]) is None


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({}, "Every call."),
        ({"debounce": 3, "tag": {"allow": ["v*"]}}, "Every call."),
        (
            {"filter": [{"preset": "branch", "branch": ["a", "b"]}, {"preset": "skip"}]},
            "Only pushes to the branch a or b. Not if the commit message has [skip deploy].",
        ),
    ],
)
def test_what_counts_is_told_in_words(document: dict[str, Any], text: str) -> None:
    assert describe_calls(make_handler(document)) == text
