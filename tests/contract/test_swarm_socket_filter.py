"""`deploy/swarm/haproxy.cfg`: what the engine `swarm` needs of a manager's socket passes, by rules all in use."""

import re
import threading
from pathlib import Path

import pytest

from tests.contract import swarm_support as swarm
from tests.contract.docker_support import APP
from tests.support.docker_bed import DockerBed
from tests.support.runs import FakeRun
from tests.support.server import request
from tests.support.socket_filter import SWARM_CONFIG, allowed_calls, filtering
from tests.support.waiting import wait_until
from tutumd.model import Level

pytestmark = pytest.mark.slow

REFUSED = (
    ("GET", "/info"),
    ("GET", "/events"),
    ("POST", "/containers/create"),
    ("GET", "/containers/json"),
    ("DELETE", "/services/web"),
    ("POST", "/swarm/leave"),
    ("GET", "/secrets"),
    ("POST", "/secrets/create"),
    ("POST", "/nodes/x/update"),
    ("POST", "/services/create/../../containers/create"),
    ("GET", "/v1.44/services/web/../../secrets"),
    ("GET", "/images/..%2f..%2fsecrets/json"),
)


def test_everything_that_the_engine_does_passes_and_uses_each_rule(clean_bed: DockerBed, tmp_path: Path) -> None:
    clean_bed.push("app", "v1")
    clean_bed.docker("network", "create", "--driver", "overlay", "front")
    swarm.create(clean_bed, "web", APP, "--network", "front")
    swarm.create(clean_bed, "local", "app:v1")  # in no registry
    stop = threading.Event()
    with (
        filtering(tmp_path, clean_bed.url, file=SWARM_CONFIG, logs_all=True) as proxy,
        swarm.opened(clean_bed, url=proxy.url) as engine,
    ):
        watch = threading.Thread(target=engine.watch, args=(lambda: None, stop))
        watch.start()
        engine.probe()
        assert len(engine.discover()) == 2
        clean_bed.push("app", "v2")
        assert engine.redeploy(swarm.service("web"), FakeRun()).success  # with a probe
        assert engine.redeploy(swarm.service("local"), FakeRun()).success
        assert engine.scale(swarm.service("web"), 3, FakeRun()).success
        assert engine.logs(swarm.service("web"), 5).text
        clean_bed.push("app", "v3-broken")
        assert "fatal" in engine.redeploy(swarm.service("web"), FakeRun()).log_tail
        stop.set()
        watch.join(60)
        assert not watch.is_alive()
    assert [line for line in proxy.refused() if line.startswith("403")] == []
    passed = proxy.passed()
    rules = allowed_calls(SWARM_CONFIG)
    assert [rule for rule in rules if not any(re.fullmatch(rule, call) for call in passed)] == []


def test_a_check_finds_that_all_passes(clean_bed: DockerBed, tmp_path: Path) -> None:
    with (
        filtering(tmp_path, clean_bed.url, file=SWARM_CONFIG) as proxy,
        swarm.opened(clean_bed, url=proxy.url) as engine,
    ):
        found = engine.check()
    assert [finding for finding in found if finding.level is not Level.OK] == []
    assert [re.sub(r"/v[0-9.]+", "", line) for line in proxy.refused()] == ["403 GET /info"]


def test_whatever_else_is_asked_is_refused(tmp_path: Path, docker_bed: DockerBed) -> None:
    with filtering(tmp_path, docker_bed.url, file=SWARM_CONFIG) as proxy:
        for method, path in REFUSED:
            assert request(proxy.port, method, path, headers={}).status == 403, path
        upgrade = {"Connection": "Upgrade", "Upgrade": "tcp"}
        form = {"Content-Type": "\xa0application/x-www-form-urlencoded"}
        for method, path, headers in (("GET", "/_ping", upgrade), ("POST", "/services/create", form)):
            assert request(proxy.port, method, path, headers=headers).status == 403
        wait_until(lambda: len(proxy.refused()) == len(REFUSED) + 2, "each is logged")
