"""Calls with tokens of real issuers: oauth2-mock-server and oidc-provider (npm), oidc-provider-mock (PyPI)."""

import base64
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest

from tests.support.guards import lacking
from tests.support.programs import listens, running
from tests.support.server import LIMIT_S, Answer, LiveServer, free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / ".venv-issuers"
PROGRAMS = Path(__file__).with_name("issuers")
AUDIENCE = "https://hooks.example.com"
LOOPBACK = ("--notify-allow", "127.0.0.0/8")


class Issuer:
    """An issuer on a port of loopback that gives tokens to `robot`.

    Attributes:
        get: Returns a new token.
    """

    def __init__(self, port: int, process: "subprocess.Popen[bytes]", get: Callable[["Issuer"], str]) -> None:
        self.port, self.process = port, process
        self.url = f"http://127.0.0.1:{port}"
        self.get: Callable[[], str] = lambda: get(self)

    def mock_token(self, **claims: object) -> str:
        """Return a token of oauth2-mock-server with these claims. `rotate` signs it, and later ones, with a new key."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"sub": "robot", "aud": AUDIENCE} | claims).encode() + b"\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().decode().strip()

    def post(self, path: str, fields: Mapping[str, str], user: str = "") -> tuple[str, Any]:
        """Send a form, and return the header `Location` and the JSON of the response."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if user:
            headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=LIMIT_S)) as connection:
            connection.request("POST", path, urlencode(fields), headers)
            response = connection.getresponse()
            return response.getheader("Location", ""), json.loads(response.read() or b"{}")


def provider_token(issuer: Issuer) -> str:
    """Return an access token of oidc-provider."""
    return str(issuer.post("/token", {"grant_type": "client_credentials"}, "robot:secret")[1]["access_token"])


def code_token(issuer: Issuer) -> str:
    """Return an ID token of oidc-provider-mock, whose audience is the client."""
    asked = {"client_id": AUDIENCE, "redirect_uri": "http://localhost/", "response_type": "code", "scope": "openid"}
    redirect, _ = issuer.post(
        f"/oauth2/authorize?{urlencode(asked | {'nonce': os.urandom(8).hex()})}", {"sub": "robot"}
    )
    (code,) = parse_qs(urlsplit(redirect).query)["code"]
    given = {"grant_type": "authorization_code", "code": code, "redirect_uri": "http://localhost/"}
    return str(issuer.post("/oauth2/token", given, f"{quote(AUDIENCE, safe='')}:any")[1]["id_token"])


def node(name: str, *arguments: str) -> list[str]:
    # Imports of a program on the command line are found in the current folder.
    return ["node", "--input-type=module", "--eval", (PROGRAMS / f"{name}.mjs").read_text(), *arguments]


KINDS: dict[str, tuple[Callable[[int], list[str]], Callable[[Issuer], str]]] = {
    "oauth2-mock-server": (lambda port: node("mock_server", str(port)), Issuer.mock_token),
    "oidc-provider": (lambda port: node("provider", str(port), AUDIENCE), provider_token),
    "oidc-provider-mock": (
        lambda port: [str(INSTALLED / "bin/python"), "-W", "ignore", "-m", "oidc_provider_mock", "-p", str(port)],
        code_token,
    ),
}


@contextmanager
def run_issuer(kind: str, port: int, log: Path) -> Iterator[Issuer]:
    if not (INSTALLED / "installed-issuers").exists():
        lacking("the issuers are not installed: script/setup issuers")
    make_command, get = KINDS[kind]
    with (
        log.open("ab") as output,
        running(
            make_command(port), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, cwd=INSTALLED
        ) as process,
    ):
        wait_until(lambda: listens(port), f"{kind} listens; {log}", timeout_s=LIMIT_S)
        yield Issuer(port, process, get)


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {kind: free_port() for kind in KINDS}


@pytest.fixture(scope="module")
def server(ports: Mapping[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    allowed = [text for port in ports.values() for text in ("--oidc-issuer", f"other=http://127.0.0.1:{port}")]
    folder = tmp_path_factory.mktemp("issuers")
    with LiveServer(folder, "--engine", "local", *allowed, *LOOPBACK) as running_server:
        yield running_server


@pytest.fixture(scope="module")
def service(server: LiveServer) -> str:
    return server.run_service("called")


def make_handler(server: LiveServer, service: str, issuer: Issuer) -> str:
    verify = {"preset": "oidc", "issuer": issuer.url, "audience": AUDIENCE, "claims": {"sub": "robot"}}
    return str(server.make_handler(service, verify=verify)["url"])


def call(server: LiveServer, url: str, token: str) -> Answer:
    return server.post(url, Authorization=f"Bearer {token}")


def forge(token: str) -> str:
    """Return a token with another claim and the old signature."""
    header, payload, signature = token.split(".")
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    changed = base64.urlsafe_b64encode(json.dumps(claims | {"forged": True}).encode()).decode().rstrip("=")
    return f"{header}.{changed}.{signature}"


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_of_an_issuer_are_accepted_once_each(
    kind: str, server: LiveServer, service: str, ports: Mapping[str, int], tmp_path: Path
) -> None:
    with run_issuer(kind, ports[kind], tmp_path / "log") as issuer:
        url = make_handler(server, service, issuer)
        token = issuer.get()
        # The keys are fetched when the handler is stored, as soon as the server has a notifier.
        accepted = wait_until(lambda: (answer := call(server, url, token)).status == 202 and answer, "it is accepted")
        assert call(server, url, token).json["action"] == accepted.json["action"]
        assert call(server, url, issuer.get()).status == 202
        refused = call(server, url, forge(token))
        assert refused.status == 401
        assert token.rpartition(".")[2].encode() not in refused.body
    assert call(server, url, token).status == 202  # the keys stay, without their issuer


@pytest.mark.nightly
def test_keys_of_an_issuer_that_starts_late_and_changes_its_key(
    server: LiveServer, service: str, ports: Mapping[str, int], tmp_path: Path
) -> None:
    late = free_port()
    with LiveServer(tmp_path, "--engine", "local", "--oidc-issuer", f"other=http://127.0.0.1:{late}", *LOOPBACK) as own:
        with run_issuer("oauth2-mock-server", late, tmp_path / "log") as issuer:
            early = issuer.mock_token()
        url = make_handler(own, own.run_service("late"), issuer)
        away = call(own, url, early)
        assert away.status == 503
        assert int(away.headers["retry-after"]) > 0
        with run_issuer("oauth2-mock-server", late, tmp_path / "log") as issuer:
            token = issuer.mock_token()
            wait_until(
                lambda: call(own, url, token).status == 202, "the keys were fetched", timeout_s=LIMIT_S, pause_s=1
            )
            rotated = issuer.mock_token(rotate=True)
            # At most one fetch per minute.
            wait_until(lambda: call(own, url, rotated).status == 202, "the new key", timeout_s=LIMIT_S, pause_s=1)
            assert call(own, url, early).status == 401  # of the key before the restart
        assert "Traceback" not in own.log
