"""Engines whose host accepts connections and never answers."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract import swarm_support
from tests.support.hanging_host import HangingHost
from tests.support.kubernetes.api import FakeCluster
from tests.support.waiting import wait_until
from tutumd.engines.docker.engine import DockerEngine
from tutumd.engines.dockerapi.connection import CALL_LIMIT_S
from tutumd.engines.kubernetes.access import find_access
from tutumd.engines.kubernetes.engine import KubernetesEngine
from tutumd.engines.swarm.engine import SwarmEngine
from tutumd.errors import EngineUnavailableError
from tutumd.ports.engine import Engine


@pytest.fixture
def host() -> Iterator[HangingHost]:
    made = HangingHost()
    yield made
    made.close()


def docker(host: HangingHost, folder: Path) -> Engine:
    return DockerEngine("docker", f"tcp://127.0.0.1:{host.port}", config_dir=None, server_cap=10)


def swarm(host: HangingHost, folder: Path) -> Engine:
    return SwarmEngine("swarm", f"tcp://127.0.0.1:{host.port}", config_dir=None, server_cap=10)


def kubernetes(host: HangingHost, folder: Path) -> Engine:
    kubeconfig = FakeCluster(url=f"http://127.0.0.1:{host.port}").write_kubeconfig(folder / "kubeconfig")
    return KubernetesEngine("kubernetes", find_access(kubeconfig, None, {}), server_cap=10)


@pytest.mark.slow
@pytest.mark.parametrize("build", [docker, swarm, kubernetes])
def test_a_probe_of_a_host_that_hangs_ends_within_its_limit(
    host: HangingHost, tmp_path: Path, build: Callable[[HangingHost, Path], Engine]
) -> None:
    engine = build(host, tmp_path)
    began = time.monotonic()
    with pytest.raises(EngineUnavailableError, match="did not respond in time"):
        engine.probe()
    assert time.monotonic() - began < CALL_LIMIT_S
    engine.close()


@pytest.mark.parametrize("build", [docker, swarm])
def test_calls_to_a_host_that_hangs_do_not_wait_for_each_other(
    host: HangingHost, tmp_path: Path, build: Callable[[HangingHost, Path], Engine]
) -> None:
    engine = build(host, tmp_path)
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
