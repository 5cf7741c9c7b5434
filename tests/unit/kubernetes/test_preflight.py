"""What registries say, read as exact values, and what that means for a redeploy."""

import hashlib
import json
from typing import Any

import pytest

from tests.support.kubernetes.workloads import container, deployment, template
from tests.unit.kubernetes.values import DIGEST, workload
from tutumd.engines.kubernetes.answers import Answer, Reply, Verdict, parse_challenges, read_reply
from tutumd.engines.kubernetes.preflight import Preflight, architectures, check_image, judge
from tutumd.engines.kubernetes.registry import is_loopback
from tutumd.engines.kubernetes.workloads import Workload
from tutumd.errors import EngineRefusedError

OLD, NEW = "registry.test/app:v1", "registry.test/app:v2"
PRESENT, ABSENT = Answer(verdict=Verdict.PRESENT, digest=DIGEST), Answer(verdict=Verdict.ABSENT)
REJECTED = "r rejected the login that this server has, or does not show it to that one"
PRIVATE = "r shows it only to those who are logged in"


def web(*containers: dict[str, Any], **more: Any) -> Workload:
    return workload(deployment(template=template(*containers, **more)))


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ("", []),
        ("Basic", [("basic", {})]),
        ('Basic realm="a, b"', [("basic", {"realm": "a, b"})]),
        (
            'Bearer realm="https://auth.test/token",service="r",scope="repository:a/b:pull,push"',
            [("bearer", {"realm": "https://auth.test/token", "service": "r", "scope": "repository:a/b:pull,push"})],
        ),
        (
            'BEARER Realm = "https://a/t?x=1" , service=r, Basic realm="say \\"hi\\""',
            [("bearer", {"realm": "https://a/t?x=1", "service": "r"}), ("basic", {"realm": 'say "hi"'})],
        ),
        ('realm="of nobody"', []),
        ('Bearer realm="never ends', [("bearer", {"realm": ""}), ("never", {}), ("ends", {})]),
    ],
)
def test_challenges_are_read(header: str, challenges: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges(header) == challenges


@pytest.mark.parametrize(
    ("status", "body", "logged_in", "answer"),
    [
        (404, _error := b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}', False, ABSENT),
        (404, b'{"errors":[{"code":"NAME_UNKNOWN"}]}', True, Answer(verdict=Verdict.ABSENT, logged_in=True)),
        (404, b'{"errors":[{"code":"UNSUPPORTED"}]}', False, "r answered with HTTP status 404"),
        (404, b"<html>", False, "r answered with HTTP status 404"),
        (404, b'{"errors":"MANIFEST_UNKNOWN"}', False, "r answered with HTTP status 404"),
        (404, b'{"errors":[{"code":["MANIFEST_UNKNOWN"]}, 7]}', False, "r answered with HTTP status 404"),
        (404, b"[" * 100_000, False, "r answered with HTTP status 404"),
        (401, b"", False, PRIVATE),
        (403, _error, False, PRIVATE),
        (401, b"", True, REJECTED),
        (403, b"", True, REJECTED),
        (500, _error, False, "r answered with HTTP status 500"),
        (429, b"", False, "r answered with HTTP status 429"),
        (204, b"", False, "r answered with HTTP status 204"),
    ],
)
def test_only_a_registrys_own_word_makes_an_image_absent(
    status: int, body: bytes, logged_in: bool, answer: Answer | str
) -> None:
    if isinstance(answer, str):
        answer = Answer(verdict=Verdict.UNKNOWN, why=answer, logged_in=logged_in)
    assert read_reply(Reply(status=status, headers={}, body=body), "r", logged_in=logged_in) == answer


def test_the_digest_is_the_one_told_else_that_of_the_manifest() -> None:
    body = b'{"config": {}}'
    reckoned = f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert read_reply(Reply(status=200, headers={"docker-content-digest": DIGEST}), "r") == PRESENT
    for told in ({}, {"docker-content-digest": "<b>"}):
        assert read_reply(Reply(status=200, headers=told, body=body), "r").digest == reckoned
        assert read_reply(Reply(status=200, headers=told), "r").digest is None


@pytest.mark.parametrize(
    ("manifests", "expected"),
    [
        ([{"platform": {"architecture": "arm64"}}, {"platform": {"architecture": "unknown"}}], frozenset({"arm64"})),
        ([{"platform": {"architecture": "arm64"}}, {}], None),
        ([{"platform": {"architecture": "unknown"}}], None),
        ([], None),
        (None, None),
        ([None], None),
    ],
)
def test_architectures_are_known_only_where_an_index_names_them_all(
    manifests: object, expected: frozenset[str] | None
) -> None:
    body = json.dumps({"manifests": manifests}).encode()
    assert read_reply(Reply(status=200, headers={}, body=body), "r").architectures == expected


def test_only_loopback_is_asked_without_tls() -> None:
    assert [is_loopback(host) for host in ("localhost", "127.8.0.1", "::1")] == [True] * 3
    assert [is_loopback(host) for host in ("", "localhost.test", "10.0.0.1", "127.0.0.1.test")] == [False] * 4


@pytest.mark.parametrize(
    ("policy", "image", "refused"),
    [
        ("Always", OLD, True),
        ("Always", NEW, True),
        ("IfNotPresent", NEW, True),
        ("IfNotPresent", OLD, False),
    ],
)
def test_an_absent_image_is_refused_where_nodes_have_to_pull_it(policy: str, image: str, refused: bool) -> None:
    one = web(container(imagePullPolicy=policy))
    problem = f"its registry has no image {image}"
    if refused:
        with pytest.raises(EngineRefusedError, match=f"^{problem}; the service was left alone$"):
            judge(one, image, ABSENT)
    else:
        assert judge(one, image, ABSENT) == Preflight(note=f"{problem}: only a node that has a copy already can run it")


def test_nobody_is_asked_for_what_is_never_pulled() -> None:
    def ask(image: str, architectures: bool) -> Answer:
        raise AssertionError("asked")

    assert check_image(web(container(imagePullPolicy="Never")), NEW, ask) == Preflight()
    migrate = container("migrate", imagePullPolicy="Always")
    with pytest.raises(EngineRefusedError):
        check_image(web(container(imagePullPolicy="Never"), initContainers=[migrate]), NEW, lambda *_: ABSENT)


def test_whoever_is_not_logged_in_does_not_know_what_the_pods_logins_show() -> None:
    one = web(imagePullSecrets=[{"name": "login"}])
    assert judge(one, NEW, ABSENT) == Preflight(
        note=f"it is not known beforehand whether {NEW} can be pulled: its registry shows none to those who are not "
        "logged in, and the pods have logins of their own"
    )
    with pytest.raises(EngineRefusedError):
        judge(one, NEW, Answer(verdict=Verdict.ABSENT, logged_in=True))


def test_what_is_not_known_is_said_and_what_is_there_needs_no_words() -> None:
    answer = Answer(verdict=Verdict.UNKNOWN, why="r answered with HTTP status 500")
    assert judge(web(), NEW, answer) == Preflight(
        note=f"it is not known beforehand whether {NEW} can be pulled: r answered with HTTP status 500"
    )
    assert judge(web(), NEW, PRESENT) == Preflight(digest=DIGEST)


def affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"affinity": {"nodeAffinity": required}}


def term(*values: str, operator: str = "In", key: str = "kubernetes.io/arch") -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


ARM = {"nodeSelector": {"kubernetes.io/arch": "arm64"}}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, None),
        (ARM, {"arm64"}),
        (affinity(term("arm64", "amd64")), {"arm64", "amd64"}),
        ({**ARM, **affinity(term("arm64", "amd64"))}, {"arm64"}),
        (affinity(term("arm64"), term("amd64")), None),
        (affinity(term("arm64", operator="NotIn")), None),
        (affinity(term("arm64", key="zone")), None),
        ({"affinity": {"podAffinity": {}}}, None),
    ],
)
def test_the_architectures_that_a_workload_says_it_needs(spec: dict[str, Any], expected: set[str] | None) -> None:
    found = architectures(web(**spec))
    assert found == (None if expected is None else frozenset(expected))


def test_an_image_for_other_machines_is_refused_where_the_workload_names_its_own() -> None:
    built = Answer(verdict=Verdict.PRESENT, digest=DIGEST, architectures=frozenset({"amd64", "riscv64"}))
    with pytest.raises(EngineRefusedError) as error:
        judge(web(**ARM), NEW, built)
    problem = "was built for amd64, riscv64, and the pods may only run on nodes with arm64 (kubernetes.io/arch)"
    assert str(error.value) == f"{NEW} {problem}; the service was left alone"
    assert judge(web(), NEW, built) == judge(web(**ARM), NEW, PRESENT) == Preflight(digest=DIGEST)
    assert judge(web(**ARM), OLD, built) == Preflight(
        digest=DIGEST, note=f"{OLD} {problem}: only a node that has a copy already can run it"
    )


def test_architectures_are_asked_for_only_where_they_are_needed() -> None:
    asked = []

    def ask(image: str, architectures: bool) -> Answer:
        asked.append((image, architectures))
        return PRESENT

    check_image(web(), NEW, ask)
    check_image(web(**ARM), OLD, ask)
    assert asked == [(NEW, False), (OLD, True)]
