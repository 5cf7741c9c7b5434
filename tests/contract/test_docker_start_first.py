"""Start-first redeploys on a real Docker Engine: no request is lost."""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.contract.docker_support import APP, inspected, opened, service, states, version
from tests.support import guards, namespace
from tests.support.docker_bed import DockerBed
from tests.support.images import Image
from tests.support.programs import end
from tests.support.runs import FakeRun
from tests.support.waiting import wait_until
from tutumd.model import WantedImage

pytestmark = pytest.mark.slow

# Longer than nginx below remembers an address.
DRAIN_S = 2.5
COMPOSE = f"""
services:
  web:
    image: {APP}
    scale: 2
    networks: {{front: {{aliases: [www]}}, default: {{}}}}
networks: {{front: {{}}}}
"""
NGINX = """
daemon off; user nobody nogroup; error_log /dev/stderr warn; pid /tmp/nginx.pid;
events {}
http {
  access_log off; resolver 127.0.0.11 valid=1s ipv6=off;
  client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; fastcgi_temp_path /tmp/c; uwsgi_temp_path /tmp/d;
  scgi_temp_path /tmp/e;
  server {
    listen 81; set $service NAME;
    location / { proxy_pass http://$service:8080; proxy_connect_timeout 5s; proxy_next_upstream error timeout; }
  }
}
"""
# Sends a request each 30 ms, in as many threads as it takes, and counts the responses until SIGTERM.
LOAD = """
import collections, json, signal, sys, threading, time, urllib.request
found, signals = collections.Counter(), []
signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
def ask():
    try:
        found[urllib.request.urlopen(sys.argv[1], timeout=60).read().decode().strip()] += 1
    except Exception as error:
        found[f"failed: {error}"] += 1
while not signals:
    threading.Thread(target=ask).start()
    time.sleep(0.03)
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(60)
print(json.dumps(found))
"""
# Answers after two seconds below /cgi-bin/slow, and does not wait for its answers when it is stopped.
SLOW = """
mkdir -p /www/cgi-bin
printf '#!/bin/sh\\nsleep 2\\necho Content-type: text/plain\\necho\\necho $VERSION\\n' > /www/cgi-bin/slow
/bin/busybox chmod +x /www/cgi-bin/slow
exec /serve
"""
# Sends one request after the other; each looks the name up again and tries one address.
POLL = "while :; do wget -q -T 60 -O- http://NAME:8080/ || echo failed; sleep 0.03; done"
# What a machine's programs need of it.
FOLDERS = [f"--volume={folder}:{folder}:ro" for folder in ("/usr", "/lib", "/lib64", "/etc/passwd", "/etc/group")]


@dataclass
class Load:
    """Responses by text: through nginx, which retries, and directly."""

    proxied: Counter[str] = field(default_factory=Counter)
    direct: Counter[str] = field(default_factory=Counter)


@contextmanager
def requesting(bed: DockerBed, network: str, name: str, folder: Path, path: str = "") -> Iterator[Load]:
    """Send requests to a service, by its name in a network, while the block runs.

    Args:
        path: The path of the requests through nginx, without the first slash.
    """
    guards.require_part("nginx")
    (folder / "nginx.conf").write_text(NGINX.replace("NAME", name))
    given = f"--volume={folder}/nginx.conf:/nginx.conf:ro"
    nginx = ("/usr/sbin/nginx", "-c", "/nginx.conf")
    bed.docker("run", "-d", "--name", "nginx", "--network", network, *FOLDERS, given, "app:v1", *nginx)
    poll = ("sh", "-c", POLL.replace("NAME", name))
    bed.docker("run", "-d", "--name", "poller", "--network", network, "app:v1", *poll)
    address = inspected(bed, "nginx")["NetworkSettings"]["Networks"][network]["IPAddress"]
    bed.fetch(f"{address}:81")  # once nginx leads to the service
    load, log = Load(), folder / "load.log"
    process = namespace.spawn_in(bed.name, [sys.executable, "-c", LOAD, f"http://{address}:81/{path}"], log)
    try:
        wait_until(lambda: bed.docker("logs", "poller").count("\n") > 20, "clients ask")
        yield load
        # The last requests get their responses, too.
        time.sleep(1)
    finally:
        end(process)
        load.direct.update(bed.docker("logs", "poller").splitlines())
        bed.docker("rm", "-f", "nginx", "poller")
    load.proxied.update(json.loads(log.read_text().splitlines()[-1]))


def check_none_lost(load: Load, expected: set[str]) -> None:
    """Check that no request failed through nginx, and directly at most one in 900."""
    assert set(load.proxied) == expected, load
    assert load.proxied.total() > 50
    failed = sum(count for text, count in load.direct.items() if text not in expected)
    assert failed <= 1 + load.direct.total() // 900, load


def test_no_request_to_a_compose_service_is_lost(clean_bed: DockerBed, tmp_path: Path) -> None:
    first = WantedImage(number=1, digest=clean_bed.push("app", "v1"))
    folder = clean_bed.up(tmp_path, COMPOSE)
    with requesting(clean_bed, "shop_front", "web", tmp_path) as load, opened(clean_bed, drain_s=DRAIN_S) as engine:
        for number, (pushed, good) in enumerate([("unhealthy", False), ("v2", True), ("v3-broken", False)]):
            clean_bed.push("app", pushed)
            run = FakeRun(action_uuid=f"{number:08x}-0000")
            assert engine.plan(service("compose:shop/web"), None).order == "start-first"
            outcome = engine.redeploy(service("compose:shop/web"), run)
            assert outcome.success is good, outcome
            assert good or outcome.rolled_back
        back = FakeRun(action_uuid="99999999-0000", image=first)
        assert engine.redeploy(service("compose:shop/web"), back).success
    check_none_lost(load, {"v1", "v2"})
    names = ("shop-web-1", "shop-web-2")
    assert states(clean_bed) == dict.fromkeys(names, "running")
    for name in names:
        networks = inspected(clean_bed, name)["NetworkSettings"]["Networks"]
        assert networks["shop_front"]["Aliases"] == [name, "web", "www"]
        assert networks["shop_default"]["Aliases"] == [name, "web"]
    ids = {name: inspected(clean_bed, name)["Id"] for name in names}
    clean_bed.compose(folder, "up", "-d")
    assert {name: inspected(clean_bed, name)["Id"] for name in names} == ids
    assert {version(clean_bed, name) for name in names} == {"v1"}


@pytest.mark.nightly
@pytest.mark.parametrize("network", ["made by compose", "with a subnet"])
def test_what_the_old_containers_work_on_is_finished(clean_bed: DockerBed, tmp_path: Path, network: str) -> None:
    subnet = "front: {ipam: {config: [{subnet: 10.77.0.0/24}]}}" if "subnet" in network else "front: {}"
    slow = {version: Image(version=version, command=("sh", "-c", SLOW)) for version in ("a", "b")}
    clean_bed.push("app", slow["a"])
    clean_bed.up(tmp_path, COMPOSE.replace("front: {}", subnet))
    path = "cgi-bin/slow"
    with (
        requesting(clean_bed, "shop_front", "web", tmp_path, path) as load,
        opened(clean_bed, drain_s=DRAIN_S) as engine,
    ):
        clean_bed.push("app", slow["b"])
        outcome = engine.redeploy(service("compose:shop/web"), FakeRun())
        assert outcome.success, outcome
    check_none_lost(load, {"a", "b"})


@pytest.mark.nightly
@pytest.mark.parametrize("in_swarm", [True, False], ids=["swarm node", "no node"])
def test_no_request_to_a_container_is_lost(clean_bed: DockerBed, tmp_path: Path, in_swarm: bool) -> None:
    clean_bed.docker("network", "create", "front")
    clean_bed.push("app", "v1")
    with swarm_left(clean_bed, left=not in_swarm):
        clean_bed.docker("run", "-d", "--name", "web", "--network", "front", "--restart", "always", APP)
        with requesting(clean_bed, "front", "web", tmp_path) as load, opened(clean_bed, drain_s=DRAIN_S) as engine:
            for number, (pushed, good) in enumerate([("v2", True), ("v3-broken", False), ("v1", True)]):
                clean_bed.push("app", pushed)
                outcome = engine.redeploy(service("name:web"), FakeRun(action_uuid=f"{number:08x}-0000"))
                assert outcome.success is good, outcome
        check_none_lost(load, {"v1", "v2"})
        assert states(clean_bed) == {"web": "running"}
        assert inspected(clean_bed, "web")["NetworkSettings"]["Networks"]["front"]["Aliases"] == ["web"]
        # Nobody is sent to an address that is not there any more.
        looked_up = clean_bed.docker("run", "--rm", "--network", "front", "app:v1", "ping", "-c1", "-W60", "web")
        assert inspected(clean_bed, "web")["NetworkSettings"]["Networks"]["front"]["IPAddress"] in looked_up


@contextmanager
def swarm_left(bed: DockerBed, *, left: bool) -> Iterator[None]:
    """Take the bed's engine out of its Swarm while the block runs."""
    if left:
        bed.docker("swarm", "leave", "--force")
    try:
        yield
    finally:
        if left:
            bed.docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--task-history-limit", "5")
