"""The shell snippets of handlers send what the handler accepts."""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.support.guards import require_programs
from tutum.snippets import snippet
from tutumd.application.admission.evaluate import CallInput, Verdict, VerdictKind, evaluate
from tutumd.application.admission.options import parse_options, write_public


class Recorder(HTTPServer):
    """A server that records the calls that it receives."""

    calls: list[CallInput]


class _Answer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Recorder)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = parse_qsl(urlsplit(self.path).query)
        now = datetime.now(UTC)
        call = CallInput(headers=self.headers.items(), query=query, body=body, address="127.0.0.1", now=now)
        self.server.calls.append(call)
        self.send_response(202)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    server = Recorder(("127.0.0.1", 0), _Answer)
    server.calls = []
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


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
def test_what_the_curl_snippet_sends_is_let_in(recorder: Recorder, verify: dict[str, object] | None) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" if verify == {"preset": "standard-webhooks"} else "s3cret & more"
    now = datetime.now(UTC)
    options = parse_options({"verify": verify and {**verify, "secrets": [secret]}, "tag": {"allow": ["v*"]}}, now)
    text = snippet("curl", f"http://127.0.0.1:{recorder.server_port}/call/", write_public(options))
    run(text, secret)
    [call] = recorder.calls
    assert evaluate(options, call) == Verdict(tag="v2")
    if verify:
        other = parse_options({"verify": {**verify, "secrets": ["whsec_AAAA"]}}, now, options)
        assert evaluate(other, call).kind is VerdictKind.UNAUTHORIZED


def test_the_curl_snippet_of_a_scale_up_calls_once(recorder: Recorder) -> None:
    run(snippet("curl", f"http://127.0.0.1:{recorder.server_port}/call/", {"operation": "SCALEUP"}), "")
    assert [dict(call.query) for call in recorder.calls] == [{"wait": "300"}]
