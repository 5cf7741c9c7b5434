"""What `check` finds of each engine: nothing if all is well, and else what is broken, with what to do."""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.contract import swarm_support
from tests.contract.engines.bed import Ability, EngineBed
from tests.support.docker_bed import DockerBed
from tests.support.docker_proxy import proxied
from tests.support.hanging_host import HangingHost
from tests.support.kubernetes.api import FakeCluster, running
from tests.support.kubernetes.rules import granted
from tests.support.socket_filter import CONFIG, SWARM_CONFIG, allowed_calls
from tests.support.waiting import wait_until
from tutumd.engines.docker.engine import NEEDED as DOCKER
from tutumd.engines.docker.engine import DockerEngine
from tutumd.engines.dockerapi.checkup import Needed
from tutumd.engines.dockerapi.connection import CALL_LIMIT_S
from tutumd.engines.kubernetes.access import PERMISSIONS, find_access
from tutumd.engines.kubernetes.engine import KubernetesEngine
from tutumd.engines.swarm.engine import NEEDED as SWARM
from tutumd.engines.swarm.engine import SwarmEngine
from tutumd.errors import EngineUnavailableError, Reason
from tutumd.model import Finding, Level
from tutumd.model.figures import compare_clocks
from tutumd.ports.engine import Engine
from tutumd.web.messages.engines import judge_engine


def wrong(engine: Engine) -> list[Finding]:
    """Return the findings that need a mend. Each has one."""
    found = [finding for finding in engine.check() if finding.level is not Level.OK]
    assert all(finding.mend and finding.subject.startswith("engine ") for finding in found), found
    return found


@pytest.mark.slow
@pytest.mark.every_engine
def test_a_check_finds_nothing_wrong_and_changes_nothing(bed: EngineBed) -> None:
    bed.create()
    before = bed.versions()
    engine = bed.engine()
    assert [finding for finding in wrong(engine) if "as root" not in finding.text] == []
    assert engine.check()[0].level is Level.OK or bed.kind == "local"
    assert bed.versions() == before
    assert len(engine.discover()) == 1


@pytest.mark.slow
@pytest.mark.every_engine
@pytest.mark.needs(Ability.AWAY)
@pytest.mark.nightly_on("swarm")
def test_an_engine_that_is_away_cannot_be_checked(bed: EngineBed) -> None:
    bed.create()
    engine = bed.engine()
    bed.go_away()
    with pytest.raises(EngineUnavailableError):
        engine.check()
    bed.come_back()
    assert wrong(engine) == []


def test_a_socket_proxy_that_is_too_narrow_is_named_with_each_request(clean_bed: DockerBed, tmp_path: Path) -> None:
    vital = (("/containers/", "rename"), ("/images/create", ""), ("/networks/", "/connect"))
    refusal = (403, b'{"message": "the filter refuses it"}')

    def answer(path: str) -> tuple[int, bytes] | None:
        return refusal if any(path.startswith(start) and path.endswith(end) for start, end in vital) else None

    with proxied(tmp_path, clean_bed.url, answer) as proxy:
        engine = DockerEngine("prod", proxy.url, config_dir=None, server_cap=10)
        found = [finding.text for finding in wrong(engine)]
        engine.close()
        asked = {method for method, _ in proxy.requests}
    assert found == [
        "POST /containers/NAME/rename is refused (403: the filter refuses it): a redeploy cannot replace containers",
        "POST /images/create is refused (403: the filter refuses it): a redeploy cannot pull the new image",
        "POST /networks/NAME/connect is refused (403: the filter refuses it): a redeploy cannot route clients to the"
        " new container",
    ]
    assert asked == {"GET", "POST", "PUT", "HEAD", "DELETE"}


@pytest.mark.parametrize(("file", "needed"), [(CONFIG, DOCKER), (SWARM_CONFIG, SWARM)], ids=["docker", "swarm"])
def test_every_rule_of_the_shipped_filters_is_asked_for_and_nothing_else(
    file: Path, needed: Mapping[str, Sequence[Needed]]
) -> None:
    asked = {
        "GET /_ping",
        "GET /version",
        *(f"{each.method} {each.path.format(absent='x')}" for group in needed.values() for each in group),
    }
    rules = allowed_calls(file)
    assert [rule for rule in rules if not any(re.fullmatch(rule, call) for call in asked)] == []
    assert [call for call in asked if not any(re.fullmatch(rule, call) for rule in rules)] == []


def test_a_filter_that_refuses_even_the_first_request_is_named(clean_bed: DockerBed, tmp_path: Path) -> None:
    refusal = (403, b'{"message": "the socket proxy refuses GET /_ping"}')
    with proxied(tmp_path, clean_bed.url, lambda path: refusal if path.endswith("/_ping") else None) as proxy:
        engine = DockerEngine("prod", proxy.url, config_dir=None, server_cap=10)
        with pytest.raises(EngineUnavailableError) as raised:
            engine.check()
        engine.close()
    assert raised.value.faults == (Reason("request-refused", (str(raised.value),)),)
    assert "the socket proxy refuses GET /_ping" in str(raised.value)


def test_every_permission_that_the_manifests_grant_is_asked_for() -> None:
    assert {(each.group, each.resource, each.verb) for each, _, _ in PERMISSIONS} == granted("namespace.yaml")


def test_a_missing_permission_is_named_with_its_namespace(tmp_path: Path) -> None:
    with running() as cluster:
        refused = {("patch", "deployments"), ("list", "events")}
        cluster.allowed = lambda request: (request.verb, request.resource) not in refused
        access = find_access(cluster.write_kubeconfig(tmp_path / "kubeconfig"), None, {})
        engine = KubernetesEngine("prod", access, namespaces=["shop", "blog"], server_cap=10)
        missing = wrong(engine)
        found = [(each.subject, each.level, each.text) for each in missing]
        engine.close()
    for finding in missing:
        assert Path(finding.mend.partition("--filename ")[2]).is_file(), finding.mend
    patch, events = "deployments cannot be redeployed", "it is told late why no pod is created"
    assert found == [
        finding
        for place in ("shop", "blog")
        for finding in (
            ("engine prod", "wrong", f"may not patch deployments in the namespace {place}: {patch}"),
            ("engine prod", "warning", f"may not list events in the namespace {place}: {events}"),
        )
    ]


Build = Callable[[int, Path], Engine]


def docker(port: int, folder: Path) -> Engine:
    return DockerEngine("docker", f"tcp://127.0.0.1:{port}", config_dir=None, server_cap=10)


def swarm(port: int, folder: Path) -> Engine:
    return SwarmEngine("swarm", f"tcp://127.0.0.1:{port}", config_dir=None, server_cap=10)


def kubernetes(port: int, folder: Path) -> Engine:
    kubeconfig = FakeCluster(url=f"http://127.0.0.1:{port}").write_kubeconfig(folder / "kubeconfig")
    return KubernetesEngine("kubernetes", find_access(kubeconfig, None, {}), server_cap=10)


@pytest.fixture
def host() -> Iterator[HangingHost]:
    made = HangingHost()
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("build", [docker, pytest.param(swarm, marks=pytest.mark.nightly), kubernetes])
def test_a_host_that_hangs_is_told_within_ten_seconds(host: HangingHost, tmp_path: Path, build: Build) -> None:
    engine = build(host.port, tmp_path)
    for ask in (engine.check, engine.probe):
        began = time.monotonic()
        with pytest.raises(EngineUnavailableError, match="did not respond in time") as raised:
            ask()
        assert time.monotonic() - began < CALL_LIMIT_S
        assert raised.value.faults == (Reason("silent", (f"127.0.0.1:{host.port}",)),)
    engine.close()


@pytest.mark.parametrize("build", [docker, swarm])
def test_calls_to_a_host_that_hangs_do_not_wait_for_each_other(host: HangingHost, tmp_path: Path, build: Build) -> None:
    engine = build(host.port, tmp_path)
    failures: list[str] = []

    def inspect() -> None:
        try:
            engine.inspect(swarm_support.service("web", target=1))
        except EngineUnavailableError as error:
            failures.append(str(error))

    threads = [threading.Thread(target=inspect) for _ in range(4)]
    for thread in threads:
        thread.start()
    # The first request of each is for the version of the API.
    wait_until(lambda: len(host.connections) == 4, "all four ask at once")
    host.close()
    for thread in threads:
        thread.join()
    assert len(failures) == 4
    engine.close()


def test_an_engine_without_a_socket_is_away_and_the_socket_is_named(tmp_path: Path) -> None:
    engine = DockerEngine("docker", f"unix://{tmp_path}/none.sock", config_dir=None, server_cap=10)
    with pytest.raises(EngineUnavailableError) as raised:
        engine.probe()
    engine.close()
    now = datetime.now(UTC)
    health = judge_engine(replace(engine.info, away=True, faults=raised.value.faults, last_heartbeat=now), now)
    assert (
        health.why == f"The socket {tmp_path}/none.sock does not exist. Actions wait until the engine can be reached."
    )
    assert health.fix.startswith("Start the engine, mount its socket into this container")


@pytest.mark.parametrize(("there", "text"), [(100.0, "90 s ahead of"), (-30.0, "30 s behind")])
def test_a_clock_that_differs_is_a_warning(there: float, text: str) -> None:
    (found,) = compare_clocks("engine x", there, before=0, after=10)
    assert found.level is Level.WARNING and f"its clock is {text} that of this machine" == found.text
    (found,) = compare_clocks("engine x", 11, before=0, after=10)
    assert found.level is Level.OK
