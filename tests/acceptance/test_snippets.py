"""The shell snippets of handlers send what the handler accepts."""

import subprocess
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.acceptance.scripted_server import Scripted
from tests.acceptance.scripted_server import scripted as scripted
from tests.support.guards import require_programs
from tutum.snippets import snippet
from tutumd.application.admission.evaluate import CallInput, Verdict, VerdictKind, evaluate, parse_options, write_public


def call_of(scripted: Scripted) -> CallInput:
    """Return the one call that the server received."""
    [(_, path, headers, body)] = scripted.requests
    query = parse_qsl(urlsplit(path).query)
    now = datetime.now(UTC)
    lower = [(name.lower(), value) for name, value in headers.items()]
    return CallInput(headers=lower, query=query, body=body.encode(), address="127.0.0.1", now=now)


def run(text: str, secret: str) -> None:
    require_programs("curl", "openssl")
    shell = text.replace("SECRET='…'", f"SECRET='{secret}'")
    subprocess.run(["sh", "-eu", "-c", shell], check=True, timeout=240, stdout=subprocess.DEVNULL)


@pytest.mark.slow
@pytest.mark.parametrize(
    "verify",
    [
        None,
        {"preset": "github"},
        {"preset": "bitbucket"},
        {"preset": "gitea"},
        {"preset": "forgejo"},
        {"preset": "gitlab"},
        {"preset": "token"},
        {"preset": "token", "header": "X-Token"},
        {"preset": "hmac", "header": "X-Sign", "algorithm": "sha512", "encoding": "base64", "prefix": "v1="},
        {"preset": "hmac", "header": "X-Sign", "algorithm": "sha1"},
        {"preset": "standard-webhooks"},
    ],
)
def test_what_the_curl_snippet_sends_is_let_in(scripted: Scripted, verify: dict[str, object] | None) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" if verify == {"preset": "standard-webhooks"} else "s3cret & more"
    now = datetime.now(UTC)
    options = parse_options({"verify": verify and {**verify, "secrets": [secret]}, "tag": {"allow": ["v*", "v2"]}}, now)
    text = snippet("curl", f"http://127.0.0.1:{scripted.server_port}/call/", write_public(options))
    scripted.answers = [(202, {}, {})]
    run(text, secret)
    call = call_of(scripted)
    assert evaluate(options, call) == Verdict(tag="v2")
    if verify:
        other = parse_options({"verify": {**verify, "secrets": ["whsec_AAAA"]}}, now, options)
        assert evaluate(other, call).kind is VerdictKind.UNAUTHORIZED


def test_the_curl_snippet_of_a_scale_up_calls_once(scripted: Scripted) -> None:
    scripted.answers = [(202, {}, {})]
    run(snippet("curl", f"http://127.0.0.1:{scripted.server_port}/call/", {"operation": "SCALEUP"}), "")
    assert dict(call_of(scripted).query) == {"wait": "300"}
