"""`deploy/compose/haproxy.cfg`: what tutumd needs of the socket passes, and nothing else; each rule is needed."""

import http.client
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.contract.docker_support import APP, opened, service, states
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.images import Image
from tests.support.runs import FakeRun
from tests.support.socket_filter import allowed_calls, filtering
from tests.support.waiting import wait_until
from tutumd.engines.docker.engine import DockerEngine
from tutumd.errors import EngineRefusedError, EngineUnavailableError
from tutumd.model import Level, Outcome, Service

FRAGILE, AGED = f"{ANONYMOUS}/fragile", f"{ANONYMOUS}/aged"
COMPOSE = f"""
services:
  web:
    image: {APP}
    restart: always
    ports: ["18080:8080"]
    configs: [{{source: inline, target: /etc/inline.conf}}]
configs:
  inline: {{content: "from compose"}}
"""


@pytest.fixture(scope="module")
def host(docker_bed: DockerBed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerBed]:
    """A Docker host with services of each kind that a rule is for."""
    bed = docker_bed
    for repository in ("app", "fragile", "aged"):
        bed.push(repository, "v1")
    bed.docker("network", "create", "front")
    for name in ("web", "neighbour"):
        bed.docker("run", "-d", "--name", name, "--network", "front", APP)
    bed.docker("run", "-d", "--name", "paused", APP)
    bed.docker("pause", "paused")
    bed.docker("run", "-d", "--name", "fragile", FRAGILE)
    bed.docker("run", "-d", "--name", "aged", AGED)
    bed.push("fragile", "v3-broken")
    bed.up(tmp_path_factory.mktemp("compose"), COMPOSE)
    yield bed
    bed.clean()


Feature = Callable[[DockerEngine, DockerBed], str]


def _perform(change: Callable[[Service, FakeRun], Outcome], selector: str, pulled: set[str] | None = None) -> str:
    """Perform an action and return all that its owner can read of it."""
    run = FakeRun(action_uuid=str(uuid.uuid4()), pulled=pulled or ())
    try:
        outcome = change(service(selector), run)
    except (EngineRefusedError, EngineUnavailableError) as error:
        return "\n".join([*run.lines, f"failed: {error}"])
    if pulled is not None:
        pulled |= run.pulled
    return "\n".join([*run.lines, "succeeded" if outcome.success else "failed", outcome.reason])


def probe(engine: DockerEngine, bed: DockerBed) -> str:
    engine.probe()
    return "succeeded"


def look(engine: DockerEngine, bed: DockerBed) -> str:
    return f"succeeded: {engine.discover()}"


def follow(engine: DockerEngine, bed: DockerBed) -> str:
    stop = threading.Event()
    engine.watch(stop.set, stop)
    return "succeeded"


def read_output(engine: DockerEngine, bed: DockerBed) -> str:
    def read() -> str:
        text = engine.logs(service("name:web"), 10).text
        return f"succeeded: {text}" if "serving v1" in text else f"failed: {text}" if "refuses" in text else ""

    return wait_until(read, "its output is there")


def replace_beside(engine: DockerEngine, bed: DockerBed) -> str:
    return _perform(engine.redeploy, "name:web")


def replace_in_place(engine: DockerEngine, bed: DockerBed) -> str:
    return _perform(engine.redeploy, "compose:shop/web")


def replace_paused(engine: DockerEngine, bed: DockerBed) -> str:
    return _perform(engine.redeploy, "name:paused")


def start_again(engine: DockerEngine, bed: DockerBed) -> str:
    bed.run("pause", "paused")
    text = _perform(engine.start, "name:paused")
    bed.run("pause", "paused")
    return text


def add_and_remove(engine: DockerEngine, bed: DockerBed) -> str:
    more = _perform(lambda each, run: engine.scale(each, 2, run), "name:web")
    return more + _perform(lambda each, run: engine.scale(each, 1, run), "name:web")


def put_back(engine: DockerEngine, bed: DockerBed) -> str:
    text = _perform(engine.redeploy, "name:fragile")
    return text.replace("failed", "succeeded") if "it exited with 3" in text and "refuses" not in text else text


def remove_old_images(engine: DockerEngine, bed: DockerBed) -> str:
    pulled, texts = set[str](), []
    for _ in range(3):
        bed.push("aged", Image(version=str(uuid.uuid4())))
        texts.append(_perform(engine.redeploy, "name:aged", pulled))
    return "\n".join(texts) if "removed the old image" in texts[-1] else f"failed: {texts}"


def check_up(engine: DockerEngine, bed: DockerBed) -> str:
    wrong = [finding.text for finding in engine.check() if finding.level is not Level.OK]
    return f"failed: {wrong}" if wrong else "succeeded"


NEEDED_BY: dict[str, Feature] = {
    "GET /_ping": probe,
    "GET /version": look,
    "GET /info": replace_beside,
    "GET /events": follow,
    "GET /containers/json": look,
    "GET /containers/NAME/json": look,
    "GET /containers/NAME/logs": read_output,
    "GET /images/json": replace_beside,
    "GET /images/NAME/json": look,
    "GET /networks/NAME": replace_beside,
    "GET /distribution/NAME/json": replace_beside,
    "POST /images/create": replace_beside,
    "POST /images/NAME/tag": put_back,
    "DELETE /images/NAME": remove_old_images,
    "POST /containers/create": replace_beside,
    "POST /containers/NAME/start": replace_beside,
    "POST /containers/NAME/stop": replace_beside,
    "POST /containers/NAME/rename": replace_beside,
    "POST /containers/NAME/update": replace_in_place,
    "DELETE /containers/NAME": replace_beside,
    "POST /containers/NAME/pause": replace_paused,
    "POST /containers/NAME/unpause": start_again,
    "POST /networks/NAME/connect": replace_beside,
    "POST /networks/NAME/disconnect": replace_beside,
    "GET /containers/NAME/changes": replace_in_place,
    "HEAD /containers/NAME/archive": replace_in_place,
    "GET /containers/NAME/archive": replace_in_place,
    "PUT /containers/NAME/archive": replace_in_place,
}


def _short(call: str) -> str:
    """Return a rule's pattern with NAME in place of what stands for names."""
    return re.sub(r"\[[^]]+\]\+", "NAME", call)


def attempt(feature: Feature, engine: DockerEngine, bed: DockerBed) -> str:
    """Use a feature, and return what its user reads."""
    try:
        return feature(engine, bed)
    except (EngineRefusedError, EngineUnavailableError) as error:
        return f"failed: {error}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "feature", [*dict.fromkeys(NEEDED_BY.values()), add_and_remove, check_up], ids=lambda each: each.__name__
)
def test_every_feature_works_through_the_filter(host: DockerBed, tmp_path: Path, feature: Feature) -> None:
    with filtering(tmp_path, host.url) as proxy, opened(host, url=proxy.url) as engine:
        text = attempt(feature, engine, host)
        assert "succeeded" in text, text
        assert "failed" not in text, text
        assert proxy.refused() == []


@pytest.mark.nightly
@pytest.mark.parametrize("call", allowed_calls(), ids=_short)
def test_without_a_rule_what_needs_it_names_the_refused_request(host: DockerBed, tmp_path: Path, call: str) -> None:
    with filtering(tmp_path, host.url, without=call) as proxy, opened(host, url=proxy.url) as engine:
        text = attempt(NEEDED_BY[_short(call)], engine, host)
    method, _, path = call.partition(" ")
    # The response to HEAD has no text.
    who, path = ("a proxy before the engine", f"/v[0-9.]+{path}") if method == "HEAD" else ("the socket proxy", path)
    assert re.search(f"{who} refuses {method} {path}: ", text), text
    assert {"web", "shop-web-1", "fragile"} <= {name for name, state in states(host).items() if state == "running"}


REFUSED = """
GET /containers/web/export
GET /containers/web/attach/ws
GET /containers/web/top
GET /images/get?names=app:v1
GET /images/app:v1/get
GET /images/search?term=app
GET /volumes
GET /networks
GET /secrets
GET /swarm
GET /services
GET /plugins
GET /system/df
GET /containers/../info
GET /networks/..%2Fsecrets
GET /v1.44/v1.44/info
POST /auth
POST /build
POST /commit?container=web
POST /session
POST /grpc
POST /containers/web/attach
POST /containers/web/exec
POST /containers/web/kill
POST /containers/web/restart
POST /containers/web/wait
POST /containers/web%2Fexec/start
POST /containers/prune
POST /exec/0123/start
POST /images/create?fromSrc=-
POST /images/create?fromImage=app&tag=v1&fromSrc=-
POST /images/create?fromImage=app&tag=v1&from%53rc=-
POST /images/load
POST /images/app/push
POST /images/prune
POST /networks/create
POST /networks/prune
POST /volumes/create
POST /volumes/prune
POST /swarm/init
POST /services/create
POST /secrets/create
POST /plugins/pull
DELETE /images/../volumes/data
DELETE /images/..%2Fvolumes%2Fdata
DELETE /images/%2E%2e/volumes/data
DELETE /volumes/data
DELETE /networks/front
DELETE /build/cache
DELETE /swarm
DELETE /
PUT /info
"""

_FORM = b"application/x-www-form-urlencoded"
_JSON = b"application/json"
# The engine is written in Go, which takes spaces of Unicode off a type, and reads the first one of several.
UNSAFE_TYPES: tuple[tuple[bytes, ...], ...] = (
    (_FORM,),
    (_FORM + b"; charset=utf-8",),
    (_FORM.upper(),),
    *((space.encode() + _FORM,) for space in "\u0085\u00a0\u1680\u2003\u2028\u202f\u205f\u3000"),
    (_FORM + "\u00a0".encode(),),
    (b"\xa0" + _FORM,),
    (b"multipart/form-data; boundary=x",),
    (_JSON + b"; charset=utf-8",),
    (_JSON + b", " + _FORM,),
    (b"",),
    (_FORM, _JSON),
    (_JSON, _FORM),
    (_JSON, _JSON),
)


@pytest.mark.slow
def test_nothing_else_passes(tmp_path: Path, docker_bed: DockerBed) -> None:
    with filtering(tmp_path, docker_bed.url) as proxy:
        for version in ("", "/v1.44"):
            for method, target in (line.split() for line in REFUSED.strip().splitlines()):
                with closing(http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)) as connection:
                    connection.request(method, version + target)
                    response = connection.getresponse()
                    assert response.status == 403, (method, target, response.status)
        unsafe: list[tuple[str, str, list[tuple[bytes, bytes]]]] = [
            ("POST", "/images/create?fromImage=app&tag=v1", [(b"Content-Type", each) for each in types])
            for types in UNSAFE_TYPES
        ]
        # What follows an upgrade would not be filtered.
        unsafe.append(("GET", "/_ping", [(b"Connection", b"Upgrade"), (b"Upgrade", b"tcp")]))
        for method, target, headers in unsafe:
            status, text = _send(proxy.port, method, target, headers, b"fromImage=&fromSrc=-&repo=evil")
            assert status == 403, (headers, text)
            assert f"refuses UNSAFE {method} " in text
        expected = 2 * len(REFUSED.strip().splitlines()) + len(unsafe)
        wait_until(lambda: len(proxy.refused()) == expected, "each is logged")
    assert "evil" not in docker_bed.docker("image", "ls", "--format", "{{.Repository}}").split()


def _send(port: int, method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes) -> tuple[int, str]:
    """Send a request with these very headers; return the status and the text of the response."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.putrequest(method, target)
        for name, value in (*headers, (b"Content-Length", str(len(body)).encode())):
            connection.putheader(name.decode(), value)
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, response.read().decode()


def test_an_engine_that_is_away_is_said_to_be_away(tmp_path: Path, docker_bed: DockerBed) -> None:
    with filtering(tmp_path, f"unix://{tmp_path}/none.sock") as proxy, opened(docker_bed, url=proxy.url) as engine:
        for use in (engine.probe, engine.discover):
            with pytest.raises(EngineUnavailableError, match="the socket proxy cannot reach the Docker Engine"):
                use()
