"""The registry is asked before a workload is touched: a real one, one that answers oddly, and one that is away."""

import base64
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.contract import kubernetes_support as kube
from tests.contract.kubernetes_support import WEB
from tests.support.docker_bed import DockerBed
from tests.support.fake_registry import Asked, FakeRegistry, Told, serving
from tests.support.kubernetes.api import running
from tests.support.kubernetes.workloads import container, deployment, template
from tests.support.registry import ANONYMOUS, PRIVATE
from tests.support.runs import FakeRun
from tests.support.waiting import wait_until
from tutumd.engines.kubernetes import asks_registries
from tutumd.engines.kubernetes.answers import Answer, Verdict
from tutumd.errors import EngineRefusedError

DIGEST = "sha256:" + "a" * 64
FOUND = Told(200, {"Docker-Content-Digest": DIGEST})
PRESENT = Answer(verdict=Verdict.PRESENT, digest=DIGEST)
MISSING = Told(404, body=b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
_ASK = """
import sys
from tutumd.engines.kubernetes import asks_registries
answer = asks_registries(sys.argv[1])(sys.argv[2], True)
print(answer.verdict.value, answer.digest, answer.logged_in, answer.why)
"""


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with serving() as one:
        yield one


def ask(folder: Path, image: str, *, architectures: bool = False, limit_s: float = 10) -> Answer:
    return asks_registries(str(folder), limit_s=limit_s)(image, architectures)


def log_in(folder: Path, registry: str, **entry: str) -> None:
    login = entry or {"auth": base64.b64encode(b"me:hidden-word").decode()}
    (folder / "config.json").write_text(json.dumps({"auths": {registry: login}}))


def unknown(why: str, *, logged_in: bool = False) -> Answer:
    return Answer(verdict=Verdict.UNKNOWN, why=why, logged_in=logged_in)


def guarded(registry: FakeRegistry, realm: str = "") -> Callable[[Asked], Told]:
    """Shows what it has to whoever brings the token that its own token server gives."""
    challenge = f'Bearer realm="{realm or f"http://{registry.address}/token?from=here"}",service="the service"'

    def answer(asked: Asked) -> Told:
        if asked.path.startswith("/token"):
            return Told(200, body=b'{"token": "t0ken"}')
        if asked.headers.get("authorization") == "Bearer t0ken":
            return FOUND
        return Told(401, {"WWW-Authenticate": challenge})

    return answer


def test_a_real_registry_tells_what_it_has_and_whom_it_trusts(clean_bed: DockerBed) -> None:
    def asked(image: str) -> str:
        return clean_bed.in_namespace(sys.executable, "-c", _ASK, str(clean_bed.docker_config), image).strip()

    digest = clean_bed.push("app", "v1", "v1")
    assert asked(f"{ANONYMOUS}/app:v1") == f"present {digest} False"
    assert asked(f"{ANONYMOUS}/app@{digest}") == f"present {digest} False"
    assert asked(f"{ANONYMOUS}/app:v2") == "absent None False"
    assert asked(f"{ANONYMOUS}/other:v1") == "absent None False"
    clean_bed.login()
    digest = clean_bed.push("app", "v1", "v1", PRIVATE)
    assert asked(f"{PRIVATE}/app:v1") == f"present {digest} True"
    assert asked(f"{PRIVATE}/app:v2") == "absent None True"
    clean_bed.logout()
    assert asked(f"{PRIVATE}/app:v1") == f"unknown None False {PRIVATE} shows it only to those who are logged in"
    wrong = base64.b64encode(b"tester:wrong").decode()
    (clean_bed.docker_config / "config.json").write_text(json.dumps({"auths": {PRIVATE: {"auth": wrong}}}))
    rejected = "rejected the login that this server has, or does not show it to that one"
    assert asked(f"{PRIVATE}/app:v1") == f"unknown None True {PRIVATE} {rejected}"


def test_a_missing_tag_leaves_the_workload_as_it_is(registry: FakeRegistry, tmp_path: Path) -> None:
    image = f"{registry.address}/app"
    registry.answer = lambda asked: FOUND if asked.path == "/v2/app/manifests/v2" else MISSING
    with running() as cluster, kube.opened(cluster, tmp_path, ask=asks_registries(str(tmp_path))) as engine:
        kube.create(cluster, deployment(template=template(container(image=f"{image}:v1", probed=True))))
        before = kube.spec_and_status(cluster, "deployments", "web")["metadata"]["generation"]
        reason = f"its registry has no image {image}:v3; the service was left alone"
        with pytest.raises(EngineRefusedError, match=reason):
            engine.redeploy(WEB, FakeRun(tag="v3"))
        assert engine.plan(WEB, "v3").refused == reason
        assert (cluster.changes(), len(kube.pods(cluster, "web"))) == ([], 2)
        assert kube.spec_and_status(cluster, "deployments", "web")["metadata"]["generation"] == before
        plan = engine.plan(WEB, "v2")
        assert (plan.refused, plan.image_after) == ("", DIGEST)
        run = FakeRun(tag="v2")
        outcome = engine.redeploy(WEB, run)
        assert outcome.success, outcome.reason
        assert f"digest of {image}:v2 in its registry → {DIGEST}" in run.lines


def test_a_token_is_fetched_for_nobody_for_a_login_and_for_a_token_of_a_helper(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    registry.answer = guarded(registry)
    image = f"{registry.address}/a/b:v1"
    assert ask(tmp_path, image) == PRESENT
    assert [(one.method, urlsplit(one.path).path) for one in registry.asked] == [
        ("HEAD", "/v2/a/b/manifests/v1"),
        ("GET", "/token"),
        ("HEAD", "/v2/a/b/manifests/v1"),
    ]
    fetched = registry.asked[1]
    expected = {"from": ["here"], "scope": ["repository:a/b:pull"], "service": ["the service"]}
    assert parse_qs(urlsplit(fetched.path).query) == expected
    assert "authorization" not in fetched.headers
    log_in(tmp_path, registry.address)
    assert ask(tmp_path, image) == Answer(verdict=Verdict.PRESENT, digest=DIGEST, logged_in=True)
    assert registry.asked[-2].headers["authorization"] == f"Basic {base64.b64encode(b'me:hidden-word').decode()}"
    log_in(tmp_path, registry.address, identitytoken="hidden-word")
    assert ask(tmp_path, image).logged_in
    sent = parse_qs(registry.asked[-2].body)
    assert (registry.asked[-2].method, sent["refresh_token"]) == ("POST", ["hidden-word"])
    log_in(tmp_path, "other.test")
    assert ask(tmp_path, image) == PRESENT


def test_a_login_goes_to_no_server_without_tls(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.answer = guarded(registry, realm="http://tokens.test/token")
    log_in(tmp_path, registry.address)
    why = f"{registry.address} refers to a server without TLS, which is not asked"
    assert ask(tmp_path, f"{registry.address}/app:v1") == unknown(why)


def test_a_redirect_is_followed_without_the_login(registry: FakeRegistry, tmp_path: Path) -> None:
    log_in(tmp_path, registry.address)
    with serving() as other:
        other.answer = lambda _: FOUND

        def answer(asked: Asked) -> Told:
            if "authorization" not in asked.headers:
                return Told(401, {"WWW-Authenticate": 'Basic realm="r"'})
            return Told(307, {"Location": f"http://{other.address}/elsewhere"})

        registry.answer = answer
        assert ask(tmp_path, f"{registry.address}/app:v1").digest == DIGEST
        assert [one.path for one in other.asked] == ["/elsewhere"]
        assert "authorization" not in other.asked[0].headers
    registry.answer = lambda asked: Told(302, {"Location": asked.path})
    why = f"{registry.address} redirects without end"
    assert ask(tmp_path, f"{registry.address}/app:v1") == unknown(why)


def test_architectures_are_read_from_the_index_alone(registry: FakeRegistry, tmp_path: Path) -> None:
    index = {"manifests": [{"platform": {"architecture": "arm64"}}, {"platform": {"architecture": "unknown"}}]}
    kind = {"Content-Type": "application/vnd.oci.image.index.v1+json; charset=utf-8", **FOUND.headers}
    registry.answer = lambda _: Told(200, kind, json.dumps(index).encode())
    assert ask(tmp_path, f"{registry.address}/app:v1") == PRESENT
    assert [one.method for one in registry.asked] == ["HEAD"]
    answer = ask(tmp_path, f"{registry.address}/app:v1", architectures=True)
    assert answer == Answer(verdict=Verdict.PRESENT, digest=DIGEST, architectures=frozenset({"arm64"}))
    assert [one.method for one in registry.asked] == ["HEAD", "HEAD", "GET"]


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (Told(500), "answered with HTTP status 500"),
        (Told(404, body=b"<html>not found</html>"), "answered with HTTP status 404"),
        (Told(401, {"WWW-Authenticate": "Negotiate"}), "shows it only to those who are logged in"),
        (Told(401, {"WWW-Authenticate": "Bearer realm=nonsense"}), "refers to a server without TLS"),
        (Told(404, body=b" " * (4 * 1024 * 1024 + 1)), "answered more than 4194304 bytes"),
        (Told(404, {"Content-Length": "9"}, b"short"), "cannot be reached from here"),
        (Told(302, {"Location": "http://[broken"}), "cannot be reached from here"),
    ],
)
def test_odd_answers_say_nothing(registry: FakeRegistry, tmp_path: Path, told: Told, why: str) -> None:
    registry.answer = lambda _: told
    answer = ask(tmp_path, f"{registry.address}/app:v1")
    assert answer.verdict is Verdict.UNKNOWN
    assert answer.why.startswith(f"{registry.address} {why}")


def test_a_rejected_login_is_told_apart_and_never_shown(registry: FakeRegistry, tmp_path: Path) -> None:
    guard = guarded(registry)
    registry.answer = lambda asked: Told(401) if asked.path.startswith("/token") else guard(asked)
    assert ask(tmp_path, f"{registry.address}/app:v1").why.endswith("shows it only to those who are logged in")
    log_in(tmp_path, registry.address)
    why = ask(tmp_path, f"{registry.address}/app:v1").why
    assert why == f"{registry.address} rejected the login that this server has, or does not show it to that one"


def test_logins_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"auths": 7}')
    assert ask(tmp_path, "127.0.0.1:1/app:v1").why.startswith("cannot read registry logins from the configuration")
    assert ask(tmp_path, "sha256:" + "0" * 64).why.startswith("the image is given by its ID")


def test_a_registry_that_is_away_or_slow_costs_little_time(registry: FakeRegistry, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    assert ask(tmp_path, f"{address}/app:v1") == unknown(f"{address} cannot be reached from here")
    heard = threading.Event()

    def answer(_: Any) -> Told:
        heard.wait(30)
        return FOUND

    registry.answer = answer
    try:
        answered = ask(tmp_path, f"{registry.address}/app:v1", limit_s=0.2)
        assert answered.verdict is Verdict.UNKNOWN
        assert "did not answer within" in answered.why
    finally:
        heard.set()
    wait_until(lambda: all(one.name != "ask registry" for one in threading.enumerate()), "nobody is asking any more")
