"""Whether a sender is connected: each check in each state, and how to fix it."""

from typing import Any

import pytest

from tests.unit.application.made_deliveries import delivery_of
from tests.unit.application.made_handlers import make_handler
from tutumd.errors import Reason
from tutumd.model import Delivery
from tutumd.web.messages.connection import (
    Check,
    Connection,
    choose_delivery,
    judge_connection,
)
from tutumd.web.messages.deliveries import write_reason
from tutumd.web.messages.senders import SENDERS

MAIN = {"verify": {"preset": "github", "secrets": ["x"]}, "filter": {"preset": "branch", "branch": "main"}}


def check(text: str, state: Any, why: str = "") -> Check:
    return Check(text=text, state=state, why=why)


ARRIVED = check("A call arrived", "passed", "from 192.0.2.1, Sender/1")
RIGHT = check("The secret is correct", "passed")


def judge(key: str, *deliveries: Delivery, **document: Any) -> Connection:
    return judge_connection(SENDERS.get(key), make_handler(document or MAIN), deliveries)


def test_before_the_first_call_it_says_what_will_be_checked() -> None:
    connection = judge("github")
    assert connection == Connection(
        stage="waiting",
        title="Waiting for the first call from GitHub",
        checks=(
            check("A call arrives", "waiting", "GitHub sends a ping as soon as you add the webhook."),
            check("The secret is correct", "waiting"),
            check("The call counts", "waiting", "Only pushes to the branch main count."),
            check("An action is queued", "waiting"),
            check("The action succeeds", "waiting"),
        ),
    )
    unsigned = judge("curl", name="curl", debounce=3)
    assert [check.text for check in unsigned.checks][:2] == ["A call arrives", "The call counts"]
    assert unsigned.checks[1].why == "Every call counts."
    assert judge("nobody").title == "Waiting for the first call from the sender"


def test_a_ping_counts_as_connected() -> None:
    ping = delivery_of("skipped", Reason("ping"))
    assert judge("github", ping) == Connection(
        stage="connected",
        title="GitHub's ping arrived: connected",
        checks=(
            ARRIVED,
            RIGHT,
            check("The call is a ping", "passed", "A ping runs nothing. Only pushes to the branch main count."),
        ),
        delivery=ping,
        is_settled=True,
    )


@pytest.mark.parametrize(
    ("state", "reason", "result", "why", "end", "is_settled"),
    [
        ("Pending", "", "waiting", "Pending", "", False),
        ("In progress", "", "waiting", "In progress", "", False),
        ("Success", "", "passed", "", "", True),
        ("Success", "a note", "passed", "a note", "", True),
        ("Failed", "no image", "failed", "no image", ", and the action failed", True),
        ("Canceled", "", "failed", "Canceled", ", and the action was canceled", True),
    ],
)
def test_a_call_that_counts_is_followed_to_the_end_of_its_action(
    state: str, reason: str, result: str, why: str, end: str, is_settled: bool
) -> None:
    connection = judge("github", delivery_of("queued", action_state=state, action_reason=reason))
    assert (connection.stage, connection.title) == ("failed" if end else "connected", f"GitHub is connected{end}")
    assert connection.is_settled == is_settled
    assert connection.checks == (
        ARRIVED,
        RIGHT,
        check("The call counts", "passed"),
        check("An action is queued", "passed"),
        check("The action redeploys the service", result, why),
    )


def test_what_the_call_joined_or_named_is_told() -> None:
    tagged = judge(
        "dockerhub", delivery_of("joined", Reason("later-body"), tag="v2"), filter={"preset": "tag", "tag": "v2"}
    )
    assert tagged.checks[1:4] == (
        check("No secret is required", "skipped", "Docker Hub signs nothing: the URL alone is the password"),
        check("The call counts", "passed", "it names the tag v2; a later call brought another body"),
        check("An action is queued", "passed", "it joined an action that was waiting"),
    )
    replaced = judge("github", delivery_of("superseded", Reason("later-tag", ("v3",))))
    assert replaced.checks[3].why == "it joined an action; a later call named the tag 'v3'"
    repeated = judge("github", delivery_of("repeated", Reason("repeated", ("a",))))
    assert repeated.checks[3].why == "it repeats an earlier call: nothing runs twice"
    assert (len(repeated.checks), repeated.is_settled, repeated.stage) == (4, True, "connected")
    scaling = judge("curl", delivery_of("queued"), operation="SCALEUP")
    assert scaling.checks[1].why == "the handler checks none: the URL alone is the password"
    assert scaling.checks[4].text == "The action scales up the service"
    assert scaling.title == "curl is connected"


def test_a_wrong_branch_is_genuine_and_does_not_count() -> None:
    skipped = delivery_of("skipped", Reason("ref-differs", ("branch", "dev", "'main'")))
    assert judge("github", skipped) == Connection(
        stage="skipped",
        title="Connected, but this call did not count",
        fix="Only pushes to the branch main count. Send such a call, or change the filter on the handler's page.",
        checks=(
            ARRIVED,
            RIGHT,
            check("The call counts", "failed", "branch 'dev' is not 'main'"),
            check("An action is queued", "skipped"),
        ),
        delivery=skipped,
        is_settled=True,
    )
    wrong_event = judge(
        "github", delivery_of("skipped", Reason("no-pushed-ref-of-event", ("branch", "'main'", "issues")))
    )
    assert wrong_event.fix == (
        "Only pushes to the branch main count."
        " Configure GitHub to send these events (Just the push event) as application/json."
    )


SENT_NONE = "{} sent no secret. Enter the secret of this handler in its field {}, then send the call again."
SENT_ANOTHER = "{} uses another secret. Enter the secret of this handler in its {}."
LOST = " If the secret is lost, make a new secret below."
JSON_NEEDED = " A wrong content type fails in the same way. Choose application/json."
BEARER = "Alertmanager must send the header Authorization with the word Bearer, a space, and the secret."
REPEATED = "A proxy in front of this server adds the header a second time. Check the proxies."
CLOCK = "Compare the clock of the sender with the clock of this server."


IDENTITY = {"verify": {"preset": "oidc", "issuer": "github", "claims": {"repository": "me/shop"}}}


@pytest.mark.parametrize(
    ("reason", "title", "fix"),
    [
        (Reason("header-missing", ("Authorization",)), "without the", "sent no identity token. Paste the job"),
        (Reason("token-claim", ("ref", "'x'", "main")), "with a wrong", "edit the handler and change the claims"),
        (Reason("token-signature", ("bad", "'k'")), "with a wrong", "Only tokens that the issuer signed"),
    ],
)
def test_a_wrong_identity_token_says_what_to_change(reason: Reason, title: str, fix: str) -> None:
    connection = judge("github-actions", delivery_of("refused", reason), **IDENTITY)
    assert connection.title == f"A call arrived {title} identity token"
    assert fix in connection.fix and "secret" not in connection.fix
    assert connection.checks[1].text == "The identity token is correct"
    assert judge("github-actions", **IDENTITY).checks[1] == check("The identity token is correct", "waiting")


@pytest.mark.parametrize(
    ("key", "reason", "fix"),
    [
        ("github", Reason("header-missing", ("X-Hub-Signature-256",)), SENT_NONE.format("GitHub", "Secret")),
        ("gitlab", Reason("header-missing", ("webhook-timestamp",)), SENT_NONE.format("GitLab", "Secret token")),
        ("github", Reason("signature-wrong", ("X",)), SENT_ANOTHER.format("GitHub", "field Secret") + LOST),
        (
            "gitea",
            Reason("signature-wrong", ("X",)),
            SENT_ANOTHER.format("Gitea or Forgejo", "field Secret") + LOST + JSON_NEEDED,
        ),
        ("nobody", Reason("token-wrong", ("X-Gitlab-Token",)), SENT_ANOTHER.format("The sender", "settings") + LOST),
        ("alertmanager", Reason("scheme-wrong", ("Authorization", "Bearer")), BEARER),
        ("gitlab", Reason("timestamp-off"), CLOCK),
        ("harbor", Reason("header-repeated", ("Authorization", "2")), REPEATED),
    ],
)
def test_a_wrong_secret_says_where_to_enter_the_right_one(key: str, reason: Reason, fix: str) -> None:
    connection = judge(key, delivery_of("refused", reason))
    assert (connection.stage, connection.fix, connection.is_settled) == ("refused", fix, True)
    assert connection.checks == (
        ARRIVED,
        check("The secret is correct", "failed", f"{write_reason(reason)}. The sender got a 401."),
        check("The call counts", "skipped"),
    )
    is_missing = reason.code == "header-missing"
    assert connection.title == f"A call arrived with{'out the' if is_missing else ' a wrong'} secret"


@pytest.mark.parametrize(
    ("reason", "status", "fix"),
    [
        (Reason("disabled"), 404, "Enable the handler on its page."),
        (Reason("expired"), 404, "The handler has expired. Set a later date on its page."),
        (
            Reason("used-up"),
            404,
            "The handler has accepted all calls that it may accept. Edit the handler and raise Total calls.",
        ),
        (
            Reason("address-not-allowed", ("192.0.2.1",)),
            404,
            "The handler does not allow this address. Edit the handler and add the address to Networks.",
        ),
        (
            Reason("too-many-calls", ("x",)),
            429,
            "Wait and send the call again, or edit the handler and raise Rate limit.",
        ),
        (Reason("invalid", ("tag must be the tag alone",)), 400, ""),
    ],
)
def test_a_handler_that_takes_no_calls_says_why(reason: Reason, status: int, fix: str) -> None:
    connection = judge("github", delivery_of("refused", reason, user_agent=""))
    assert (connection.title, connection.fix) == (f"A call was refused with {status}", fix)
    why = f"{write_reason(reason)}. The sender got a {status}."
    assert connection.checks == (
        check("A call arrived", "passed", "from 192.0.2.1"),
        check("The handler accepts calls", "failed", why),
    )


def test_calls_for_one_platform_of_an_image_do_not_hide_the_one_that_ran() -> None:
    layer, ran = delivery_of("skipped", Reason("no-pushed-tag"), number=9), delivery_of("queued", number=8)
    refused = delivery_of("refused", Reason("header-missing", ("X",)), number=7)
    assert choose_delivery([layer, ran, refused]) is ran
    assert choose_delivery([layer, refused, ran]) is layer
    assert choose_delivery([refused, ran]) is refused
    assert choose_delivery([]) is None
