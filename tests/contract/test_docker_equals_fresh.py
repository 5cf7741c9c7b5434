"""A redeployed container equals one that `docker run` makes of the new image."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.contract.docker_support import APP, inspected, opened, service, states
from tests.support.docker_bed import DockerBed
from tests.support.images import Image
from tests.support.runs import FakeRun
from tutumd.engines.labels import ACTION, ACTION_TIMEOUT

FIRST = Image(
    version="a",
    entrypoint=("/bin/sh", "-c"),
    command=("exec /serve",),
    env={"OLD": "1", "SHARED": "first"},
    labels={"version": "a", "old": "1"},
    volumes=("/state", "/gone"),
    exposed_ports=("81/tcp",),
    healthcheck=("CMD", "/bin/false"),
    working_dir="/tmp",
    user="app",
    stop_signal="SIGINT",
)
SECOND = Image(
    version="b",
    env={"NEW": "1", "SHARED": "second"},
    labels={"version": "b", "new": "1"},
    entrypoint=("/serve",),
    command=("argument",),
    volumes=("/state", "/more"),
    exposed_ports=("82/tcp",),
    healthcheck=("CMD", "/bin/true"),
    working_dir="/www",
)
# Fields that differ between any two containers, or that the engine changes after it created one.
VOLATILE = {
    *("Id", "Created", "State", "ResolvConfPath", "HostnamePath", "HostsPath", "LogPath", "GraphDriver", "Mounts"),
    *("ProcessLabel", "ExecIDs"),
}
GIVEN = {
    *("EndpointID", "IPAddress", "Gateway", "MacAddress", "NetworkID", "IPPrefixLen", "DNSNames", "IPv6Gateway"),
    *("GlobalIPv6Address", "GlobalIPv6PrefixLen"),
}

HEALTHY = ("--health-cmd", "true", "--health-interval", "0.2s")
CASES: dict[str, Sequence[str]] = {
    "plain": HEALTHY,
    "anonymous volumes": (*HEALTHY, "-v", "/mine", "-v", "/state/"),
    "--rm": (*HEALTHY, "--rm", "-v", "/mine"),
    "--rm beside": (*HEALTHY, "--rm", "--network", "front"),
    "static IP": (*HEALTHY, "--network", "front", "--ip", "10.77.0.9"),
    "MAC address": (*HEALTHY, "--mac-address", "02:11:22:33:44:55"),
    "macvlan": (*HEALTHY, "--network", "lan", "--ip", "10.78.0.9"),
    "networks with aliases": (*HEALTHY, "--network", "front", "--network-alias", "www", "--hostname", "chosen"),
    "network without alias": (*HEALTHY, "--network", "front"),
    "links": (*HEALTHY, "--link", "other:db"),
    "links in a network": (*HEALTHY, "--network", "front", "--link", "other-front:db"),
    "another's network": (*HEALTHY, "--network", "container:other", "-e", "PORT=90"),
    "the host's network": (*HEALTHY, "--network", "host", "-e", "PORT=18080"),
    "no network": (*HEALTHY, "--network", "none"),
    "healthcheck override": ("--health-cmd", "test -e /version", "--health-retries", "7"),
    "no healthcheck": ("--no-healthcheck",),
    "entrypoint override": (*HEALTHY, "--entrypoint", "/bin/sh"),
    "empty entrypoint": (*HEALTHY, "--entrypoint", ""),
    "fixed ports": (*HEALTHY, "-p", "8080:8080", "-p", "9000-9001:9000-9001/udp"),
    "dynamic port": (*HEALTHY, "-p", "8080", "--network", "front"),
    "restart policy": (*HEALTHY, "--restart", "on-failure:3", "--stop-signal", "SIGQUIT", "--stop-timeout", "2"),
    "limits and more": (
        *(*HEALTHY, "-m", "64m", "--cpus", "0.5", "--cap-add", "NET_ADMIN", "--read-only", "--tmpfs", "/www"),
        *("--ulimit", "nofile=99:99", "--sysctl", "net.core.somaxconn=99", "-u", "root", "-w", "/", "--init"),
        *("--log-driver", "json-file", "--log-opt", "max-size=1m", "-l", "mine=1", "-e", "SHARED=mine", "-e", "UNSET"),
    ),
    "devices": (*HEALTHY, "--device", "/dev/null:/dev/mine", "--device-cgroup-rule", "c 1:3 r"),
    "names": (
        *(*HEALTHY, "--add-host", "a:1.2.3.4", "--add-host", "b:host-gateway", "--dns", "9.9.9.9", "--dns-search", "x"),
        *("--dns-option", "ndots:2", "--hostname", "h", "--domainname", "d", "--network", "front"),
    ),
    "namespaces of the host": (*HEALTHY, "--ipc", "host", "--pid", "host", "--uts", "host", "--cgroupns", "host"),
    "namespaces of another": (*HEALTHY, "--ipc", "container:sharing", "--pid", "container:sharing"),
    "namespaces of its own": (*HEALTHY, "--ipc", "shareable", "--shm-size", "32m", "--cgroupns", "private"),
    "security": (
        *(*HEALTHY, "--cap-drop", "ALL", "--cap-add", "CHOWN", "--security-opt", "no-new-privileges"),
        *("--group-add", "99", "--userns", "host"),
    ),
    "privileged": (*HEALTHY, "--privileged"),
    "all exposed ports": (*HEALTHY, "-P", "--expose", "99"),
    "addresses of the host": (*HEALTHY, "-p", "127.0.0.1:8081:8080", "-p", "127.0.0.1::8082", "-p", "8090-8095:8083"),
    "mounts": (
        *(*HEALTHY, "--mount", "type=tmpfs,dst=/t,tmpfs-size=1000000,tmpfs-mode=700"),
        *(
            "--mount",
            "type=bind,src=/usr/share,dst=/b,readonly,bind-propagation=private",
            "-v",
            "/usr/share:/b2:ro,private",
        ),
        *("--mount", "type=volume,src=named,dst=/n,volume-nocopy,volume-label=a=b", "-v", "data:/data:ro,nocopy"),
        *("--mount", "type=volume,dst=/anonymous", "--tmpfs", "/t2:size=1m,noexec"),
    ),
    "volumes of another": (*HEALTHY, "--volumes-from", "sharing:ro"),
    "a terminal": (*HEALTHY, "-t", "-i"),
    "more limits": (
        *(*HEALTHY, "--cpu-shares", "512", "--cpuset-cpus", "0", "-m", "64m", "--memory-swap", "128m"),
        *("--memory-reservation", "32m", "--pids-limit", "50", "--oom-score-adj", "100", "--memory-swappiness", "10"),
    ),
    "logs elsewhere": (*HEALTHY, "--log-driver", "local", "--log-opt", "max-size=1m"),
    "no logs": (*HEALTHY, "--log-driver", "none"),
    "annotations": (*HEALTHY, "--annotation", "a=b", "--runtime", "runc"),
    "endpoint options": (
        *HEALTHY,
        "--network",
        "name=front,alias=x,driver-opt=com.docker.network.endpoint.exposedports=",
    ),
    "slow health check": ("--health-cmd", "true", "--health-interval", "0.2s", "--health-start-period", "9s"),
    "command override": HEALTHY,
    "restarts forever": (*HEALTHY, "--restart", "unless-stopped"),
    "start-first by label": (*HEALTHY, "-l", "tutum.redeploy.order=start-first", "-v", "data:/data"),
}
TYPICAL = ("another's network", "fixed ports", "limits and more", "mounts")
"""Run with --all; the others are nightly."""
COMMANDS = {
    "entrypoint override": ("-c", "exec /serve"),
    "empty entrypoint": ("/serve",),
    "command override": ("exec /serve; true",),
}


def shown(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return an inspect document without what differs between any two equal containers."""
    result = {key: value for key, value in document.items() if key not in VOLATILE}
    result["Config"] = dict(document["Config"])
    if result["Config"]["Hostname"] == document["Id"][:12]:
        result["Config"]["Hostname"] = "its own ID"
    # tutumd says which action created it.
    made_by = (ACTION, ACTION_TIMEOUT)
    labels = document["Config"]["Labels"].items()
    result["Config"]["Labels"] = {key: value for key, value in labels if key not in made_by}
    result["HostConfig"] = {key: value for key, value in document["HostConfig"].items() if key != "ContainerIDFile"}
    # What a fresh one has as anonymous volumes, a new one carries over by name.
    result["HostConfig"].pop("Mounts", None)
    # The command line client hands several over in any order.
    result["HostConfig"]["Binds"] = sorted(document["HostConfig"]["Binds"] or ())
    result["Config"]["Env"] = sorted(document["Config"]["Env"] or ())
    result["Where"] = sorted(
        (mount["Type"], mount["Destination"], mount["RW"], mount.get("Driver", "")) for mount in document["Mounts"]
    )
    settings = document["NetworkSettings"]
    result["NetworkSettings"] = {
        "Ports": {port: bool(bindings) for port, bindings in settings["Ports"].items()},
        "Networks": {
            name: {key: value or None for key, value in endpoint.items() if key not in GIVEN}
            for name, endpoint in settings["Networks"].items()
        },
    }
    return result


def prepare(bed: DockerBed) -> None:
    bed.docker("network", "create", "--subnet", "10.77.0.0/24", "front")
    bed.in_namespace("ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1")
    bed.docker("network", "create", "-d", "macvlan", "--subnet", "10.78.0.0/24", "-o", "parent=lan0", "lan")
    bed.docker("run", "-d", "--name", "other", "app:v1")
    bed.docker("run", "-d", "--name", "sharing", "--ipc", "shareable", "-v", "/shared", "app:v1")
    bed.docker("run", "-d", "--name", "other-front", "--network", "front", "app:v1")


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=() if case in TYPICAL else pytest.mark.nightly) for case in CASES]
)
def test_a_redeployed_container_is_like_a_fresh_one(clean_bed: DockerBed, case: str) -> None:
    prepare(clean_bed)
    try:
        clean_bed.push("app", FIRST)
        arguments = ("run", "-d", "--name", "web", *CASES[case], APP, *COMMANDS.get(case, ()))
        clean_bed.docker(*arguments)
        clean_bed.push("app", SECOND)
        for number in (1, 2):
            with opened(clean_bed) as engine:
                plan = engine.plan(service("name:web"), None)
                outcome = engine.redeploy(service("name:web"), FakeRun(action_uuid=f"{number:08x}-0000"))
            assert outcome.success, outcome
            assert (plan.refused, plan.image_after) == ("", outcome.image_after)
        assert set(states(clean_bed)) == {"web", "other", "other-front", "sharing"}
        redeployed = inspected(clean_bed, "web")
        clean_bed.docker("rm", "-f", "web")
        clean_bed.docker(*arguments)
        fresh = inspected(clean_bed, "web")
    finally:
        clean_bed.in_namespace("ip", "link", "delete", "lan0")
    expected, found = shown(fresh), shown(redeployed)
    # The old image's volume is one of the container by now: what is in it is not to be lost.
    kept = [place for place in found["Where"] if place[1] != "/gone"]
    assert {**found, "Where": kept} == expected
