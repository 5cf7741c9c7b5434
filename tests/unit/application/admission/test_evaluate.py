"""The verdict on a call, and its explanation."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.application.admission.calls import NOW, evaluation, hex_hmac, options_of, payload, received, text_of
from tutumd.application.admission.evaluate import CallInput, Verdict, VerdictKind, evaluate, explain
from tutumd.application.admission.fields import DEFAULTS
from tutumd.errors import Reason
from tutumd.web.messages.deliveries import write_reason

GITHUB = {"preset": "github", "secrets": ["s3cret"]}
COMMIT = "0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c"
ODD_BODIES = [b"", b"\xff\0", b"{", b'{"zen": "x", "hook_id": 1}', b"payload=%7B%7D"]
NOT_ALLOWED = Reason("address-not-allowed", ("192.0.2.1",))


def signed(call: CallInput, secret: str = "s3cret") -> CallInput:
    signature = ("x-hub-signature-256", "sha256=" + hex_hmac(secret, call.body))
    return replace(call, headers=[*call.headers, signature])


@pytest.mark.parametrize("body", ODD_BODIES)
def test_a_handler_without_options_admits_every_call(body: bytes) -> None:
    headers = [("X-GitHub-Event", "ping"), ("X-GitHub-Event", "push"), ("Content-Type", "ä")]
    assert evaluation(received(body, headers, address="")) == Verdict()
    assert evaluation(received(body, headers, query=[("wait", "5"), ("x", "")])) == Verdict()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"enabled": False}, Reason("disabled")),
        ({"expires_datetime": "2026-01-02T00:00:00Z"}, Reason("expired")),
        ({"allow_from": ["10.0.0.0/8"]}, NOT_ALLOWED),
    ],
)
def test_a_hidden_handler_does_not_reveal_a_wrong_signature(fields: dict[str, object], reason: Reason) -> None:
    call = received(now=NOW.replace(day=2))
    for options in (options_of(**fields), options_of(**fields, verify=GITHUB)):
        assert evaluate(options, call) == Verdict(kind=VerdictKind.NOT_FOUND, reason=reason)
    assert evaluation(received(), expires_datetime="2026-01-02T00:00:00Z") == Verdict()


@pytest.mark.parametrize(
    ("networks", "address", "is_in"),
    [
        (["192.0.2.1"], "192.0.2.1", True),
        (["192.0.2.1"], "192.0.2.2", False),
        (["192.0.2.0/24"], "::ffff:192.0.2.9", True),
        (["::ffff:192.0.2.0/120"], "192.0.2.9", True),
        (["::ffff:192.0.2.0/120"], "::ffff:192.0.3.9", False),
        (["::/0"], "192.0.2.9", False),
        (["0.0.0.0/0"], "2001:db8::1", False),
        (["2001:db8::/32"], "2001:DB8:0:0::1", True),
        (["2001:db8::1"], "2001:db8::2", False),
        (["fe80::/10"], "fe80::1%eth0", True),
        (["10.0.0.0/8", "2001:db8::/32"], "2001:db8::1", True),
        (["0.0.0.0/0", "::/0"], "", False),
        (["0.0.0.0/0"], "unix:", False),
        (["0.0.0.0/0"], "0192.0.2.1", False),
    ],
)
def test_networks(networks: list[str], address: str, is_in: bool) -> None:
    verdict = evaluation(received(address=address), allow_from=networks)
    assert verdict.kind is (VerdictKind.GO if is_in else VerdictKind.NOT_FOUND)


@pytest.mark.parametrize("name", ["github-ping", "github-push-deleted", "github-delete", "distribution-pull"])
def test_what_is_no_push_is_skipped_once_the_sender_is_known(name: str) -> None:
    assert evaluation(signed(payload(name)), verify=GITHUB).kind is VerdictKind.SKIPPED
    assert evaluation(payload(name), verify=GITHUB).kind is VerdictKind.UNAUTHORIZED


def test_a_signature_comes_before_what_the_payload_says() -> None:
    branch = {"preset": "branch", "branch": "dev"}
    call = payload("github-push")
    assert evaluation(call, verify=GITHUB, filter=branch).kind is VerdictKind.UNAUTHORIZED
    assert evaluation(signed(call), verify=GITHUB, filter=branch).kind is VerdictKind.SKIPPED
    assert evaluation(signed(call), verify=GITHUB) == Verdict(revision=COMMIT)
    assert evaluation(signed(payload("github-push", as_form=True)), verify=GITHUB) == Verdict(revision=COMMIT)
    assert evaluation(call) == evaluation(call, filter={"preset": "branch", "branch": "main"}) == Verdict()
    assert evaluation(signed(call, "other"), verify=GITHUB).kind is VerdictKind.UNAUTHORIZED


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("dev", "not one that this handler allows"),
        ("V2", "not one that this handler allows"),
        ("", "the tag alone"),
        ("v1:v2", "the tag alone"),
        ("other/app:v2", "the tag alone"),
        ("v2@sha256:" + "a" * 64, "the tag alone"),
        ("sha256:" + "a" * 64, "the tag alone"),
        ("-v2", "the tag alone"),
        ("v" * 129, "the tag alone"),
        ("v2\n", "the tag alone"),
        ("vä", "the tag alone"),
    ],
)
def test_a_tag_in_the_query_that_is_not_allowed_is_invalid(value: str, text: str) -> None:
    verdict = evaluation(received(query=[("tag", value)]), tag={"allow": ["v*"]})
    assert verdict.kind is VerdictKind.INVALID
    assert text in text_of(verdict)


def test_a_tag_is_accepted_once_and_only_where_it_is_allowed() -> None:
    twice = evaluation(received(query=[("tag", "v1"), ("tag", "v2")]), tag={"allow": ["v*"]})
    without_rule = evaluate(DEFAULTS, received(query=[("tag", "v1")]))
    from_payload = evaluation(received(b"{}", query=[("tag", "v1")]), tag={"allow": ["v*"], "from": "body.tag"})
    for verdict, text in ((twice, "twice"), (without_rule, "accepts no tag"), (from_payload, "accepts no tag")):
        assert verdict.kind is VerdictKind.INVALID
        assert text in text_of(verdict)


@pytest.mark.parametrize("tag", ["v1", "1.2.3", "_x", "v" * 128, "A-b.c_d"])
def test_tags_of_the_specification(tag: str) -> None:
    assert evaluation(received(query=[("x", "y")]), tag={"allow": ["*"]}) == Verdict()
    assert evaluation(received(query=[("tag", tag)]), tag={"allow": ["*"]}) == Verdict(tag=tag)


def test_a_tag_in_the_payload() -> None:
    rule = {"allow": ["v*", "latest"], "from": "body.push_data.tag"}
    assert evaluation(payload("dockerhub"), tag=rule) == Verdict(tag="latest")
    for body, reason in (
        (b'{"push_data": {"tag": "dev"}}', "tag 'dev' is not among those allowed"),
        (b'{"push_data": {"tag": "x/y:v1"}}', "the value that tag.from finds is not a tag"),
        (b'{"push_data": {"tag": 1}}', "the payload names no tag"),
        (b"nonsense", "the payload names no tag"),
    ):
        verdict = evaluation(received(body), tag=rule)
        assert verdict.kind is VerdictKind.SKIPPED
        assert reason in text_of(verdict)


@pytest.mark.parametrize("text", ["", "{\"a\": 'ä$`\n'}", "x" * 32_768])
def test_the_body_is_passed_to_the_containers(text: str) -> None:
    call = received(text.encode())
    assert evaluation(call, pass_body=True) == Verdict(variable=("TUTUM_TRIGGER_BODY", text))
    assert evaluation(call, pass_body="TUTUM_X") == Verdict(variable=("TUTUM_X", text))


@pytest.mark.parametrize(
    ("body", "note"),
    [(b"x" * 32_769, "32769 bytes"), ("ä".encode() * 16_385, "bytes"), (b"\xff", "UTF-8"), (b"a\0b", "NUL")],
)
def test_a_body_that_no_variable_can_hold_is_explained(body: bytes, note: str) -> None:
    verdict = evaluation(received(body), pass_body=True)
    assert verdict.variable == ("TUTUM_TRIGGER_BODY", None), "the body of an earlier call must not stay"
    (reason,) = verdict.notes
    assert note in write_reason(reason)


def test_an_explanation_has_every_check_also_after_a_failed_one() -> None:
    options = options_of(
        allow_from=["10.0.0.0/8"],
        verify=GITHUB,
        filter={"preset": "branch", "branch": "main"},
        tag={"allow": ["v*"]},
        pass_body=True,
    )
    trial = explain(options, payload("github-push", query=[("tag", "v2")]))
    assert [(step.check, step.passes) for step in trial.checks] == [
        ("allow_from", False),
        ("verify", False),
        ("event", True),
        ("filter", True),
        ("tag", True),
        ("pass_body", True),
    ]
    assert trial.verdict == Verdict(kind=VerdictKind.NOT_FOUND, reason=NOT_ALLOWED)
    assert [write_reason(reason) for reason in trial.checks[3].why] == ["branch 'main' matches 'main'"]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"enabled": False},
        {"verify": GITHUB},
        {"filter": "body.ref"},
        {"filter": {"preset": "branch", "branch": "x"}},
        {"tag": {"allow": ["v*"], "from": "body.ref"}},
        {"pass_body": True},
    ],
)
@pytest.mark.parametrize("name", ["github-push", "github-ping", "dockerhub"])
def test_an_explanation_ends_as_the_call_would(fields: dict[str, object], name: str) -> None:
    call = payload(name)
    assert explain(options_of(**fields), call).verdict == evaluation(call, **fields)


def test_expressions_do_not_see_the_header_of_a_secret() -> None:
    call = received(b"{}", [("X-Gate", "hunter2")])
    verdict = evaluation(
        call,
        verify={"preset": "token", "header": "X-Gate", "secrets": ["hunter2"]},
        tag={"allow": ["v*"], "from": 'headers."x-gate"'},
    )
    assert "hunter2" not in repr(verdict)


class Unparsed(CallInput):
    """A call whose body may not be parsed."""

    @property
    def payload(self) -> Any:
        raise AssertionError("the body is parsed")


def test_the_body_is_parsed_only_for_a_tag_that_is_in_it() -> None:
    call = Unparsed(headers=(), query=(("tag", "v2"),), body=b"[[" * 1000, address="", now=NOW)
    in_query = options_of(tag={"allow": ["v*"]})
    assert evaluate(in_query, call) == Verdict(tag="v2")
    assert evaluate(in_query, replace(call, query=())) == Verdict()
    with pytest.raises(AssertionError, match="the body is parsed"):
        evaluate(options_of(tag={"allow": ["v*"], "from": "body.tag"}), replace(call, query=()))
