"""An engine that is reached over ssh: its connections, their limits, and what becomes of their processes."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import psutil
import pytest

from tests.bench.fake_docker import FakeDocker
from tests.support import guards
from tests.support.ssh_bed import SshBed, clients
from tests.support.waiting import wait_until
from tutumd.engines.docker.engine import DockerEngine
from tutumd.engines.dockerapi import connection, ssh
from tutumd.engines.dockerapi.connection import CALL_LIMIT_S, PROBE_LIMIT_S, connect
from tutumd.errors import EngineUnavailableError, SettingsError

# As many as a worker may run on an engine, and more than sshd lets log in at a time.
MANY = 16
# Opens a connection, says so, and waits.
OPEN = """
import sys, time
from tutumd.engines.dockerapi.connection import connect
client = connect(sys.argv[1], None)
client.probe()
print("open", flush=True)
time.sleep(60)
"""


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeDocker]:
    guards.require_part("ssh")
    with closing(FakeDocker(tmp_path / "docker.sock", 1)) as engine:
        yield engine


@pytest.fixture
def bed(fake: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshBed]:
    """A server, and limits for what takes longer to log in than a host should."""
    for module, name in ((connection, "CONNECT_LIMIT_S"), (connection, "PROBE_LIMIT_S"), (ssh, "_QUEUE_S")):
        monkeypatch.setattr(module, name, 100)
    with SshBed(tmp_path, fake.url) as bed:
        monkeypatch.setenv("PATH", bed.environment["PATH"])
        yield bed
        wait_until(lambda: not clients(bed.url), "all ssh processes have ended")


@pytest.fixture
def engine(bed: SshBed) -> Iterator[DockerEngine]:
    with closing(engine_at(bed.url)) as engine:
        yield engine


def engine_at(url: str) -> DockerEngine:
    return DockerEngine("far", url, config_dir=None, server_cap=10)


def names(engine: DockerEngine) -> list[str]:
    return [service.name for service in engine.discover()]


def test_an_engine_is_used_and_watched(engine: DockerEngine, fake: FakeDocker) -> None:
    changed, stop = Event(), Event()
    watching = Thread(target=engine.watch, args=(changed.set, stop))
    watching.start()
    try:
        assert changed.wait(60)
        assert names(engine) == ["app-1"]
        changed.clear()
        fake.tell("die", 1)
        assert changed.wait(60)
    finally:
        stop.set()
        watching.join(60)
    assert not watching.is_alive()


def test_its_processes_end_with_it_without_a_zombie(bed: SshBed) -> None:
    engine = engine_at(bed.url)
    assert names(engine) == ["app-1"]
    assert clients(bed.url)
    engine.close()
    wait_until(lambda: not clients(bed.url), "they have ended")


def test_a_process_whose_host_has_stopped_ends_with_its_engine(bed: SshBed) -> None:
    engine = engine_at(bed.url)
    assert names(engine) == ["app-1"]
    with bed.stopped():
        engine.close()
        wait_until(lambda: not clients(bed.url), "it has ended")


def test_connections_are_used_again(bed: SshBed, engine: DockerEngine) -> None:
    for _ in range(3):
        assert names(engine) == ["app-1"]
        engine.probe()
    assert bed.logins == 1


def test_many_threads_connect_at_once(bed: SshBed) -> None:
    with closing(connect(bed.url, None)) as client, ThreadPoolExecutor(MANY) as pool:
        responses = [pool.submit(client.version, api_version=False) for _ in range(MANY)]
        assert [response.exception(60) for response in responses] == [None] * MANY


def test_a_lost_connection_is_replaced(bed: SshBed, engine: DockerEngine) -> None:
    assert names(engine) == ["app-1"]
    for client in clients(bed.url):
        client.kill()
    wait_until(lambda: not clients(bed.url), "no zombie is left")
    assert names(engine) == ["app-1"]


@pytest.mark.slow
def test_a_host_that_was_away_is_reached_again(bed: SshBed, engine: DockerEngine) -> None:
    assert names(engine) == ["app-1"]
    bed.stop()
    wait_until(lambda: not clients(bed.url), "the client knows it")
    with pytest.raises(EngineUnavailableError, match=f"{bed.url}: ssh: connect to host .* refused"):
        engine.probe()
    bed.start()
    engine.probe()
    assert names(engine) == ["app-1"]


def test_an_unknown_host_key_is_reported_with_the_mend_and_never_asked_about(bed: SshBed, engine: DockerEngine) -> None:
    bed.forget_host()
    with pytest.raises(EngineUnavailableError) as raised:
        engine.probe()
    assert str(raised.value) == (
        f"cannot reach the engine: {bed.url}: Host key verification failed.; as the user that runs tutumd, run "
        f"`ssh {bed.url} docker version` until it shows the engine's version and asks nothing"
    )
    assert bed.known_hosts.read_text() == ""


def test_a_refused_login_is_not_repeated_at_once(bed: SshBed, engine: DockerEngine) -> None:
    bed.authorized_keys.write_text("")
    for _ in range(3):
        with pytest.raises(EngineUnavailableError, match=r"Permission denied \(publickey\)"):
            engine.probe()
    assert bed.logins == 1


def test_a_key_may_be_restricted_to_the_engine(bed: SshBed, engine: DockerEngine) -> None:
    key = bed.authorized_keys.read_text()
    bed.authorized_keys.write_text(f'restrict,command="docker system dial-stdio" {key}')
    assert names(engine) == ["app-1"]


def test_a_host_without_the_docker_client_is_reported(
    fake: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    with SshBed(tmp_path / "other", fake.url, path="/nonexistent") as bed, closing(engine_at(bed.url)) as engine:
        monkeypatch.setenv("PATH", bed.environment["PATH"])
        with pytest.raises(EngineUnavailableError, match=r"docker: .*not found"):
            engine.probe()


def test_the_servers_secrets_are_not_passed_on(
    bed: SshBed, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUTUMD_SECRET_KEY", "c2VjcmV0")
    engine.probe()
    (client,) = clients(bed.url)
    assert "TUTUMD_SECRET_KEY" not in client.environ()
    assert "PATH" in client.environ()


@pytest.mark.slow
def test_no_process_outlives_a_server_that_is_killed(bed: SshBed) -> None:
    with subprocess.Popen([sys.executable, "-c", OPEN, bed.url], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "open\n"
        opened = psutil.Process(server.pid).children()
        assert len(opened) == 1
        server.send_signal(signal.SIGKILL)
    assert psutil.wait_procs(opened, timeout=60)[1] == []


@pytest.mark.slow
def test_a_host_that_hangs_after_the_login_is_noticed_in_time(
    bed: SshBed, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.probe()
    with bed.stopped(), monkeypatch.context() as patch:
        patch.setattr(connection, "PROBE_LIMIT_S", PROBE_LIMIT_S)
        began = time.monotonic()
        with pytest.raises(EngineUnavailableError, match="did not respond in time"):
            engine.probe()
        assert time.monotonic() - began < CALL_LIMIT_S
    engine.probe()


@pytest.mark.parametrize(
    "url",
    ["ssh://", "ssh://user:password@host", "ssh://host/var/run/docker.sock", "ssh://host?cert_path=/certificates"],
)
def test_an_invalid_address_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError) as raised:
        connect(url, None)
    assert "password@" not in str(raised.value)


def test_a_machine_without_the_program_ssh_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SettingsError, match="ssh://host needs the program ssh: apt-get install openssh-client"):
        connect("ssh://host", None)
