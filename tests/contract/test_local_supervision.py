"""Supervision by the engine `local`: restarts, backoff and output between actions."""

import os
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.contract.engines.verbs import watching
from tests.contract.local_support import LocalHost, is_alive, wait_for_lines
from tests.support.processes import zombies
from tests.support.waiting import wait_until
from tutumd.model import Autorestart, ContainerState, ServiceState


class FastClock:
    """A clock that runs fifty times as fast, so that no test waits for a backoff."""

    def __init__(self) -> None:
        self.began = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.began + (datetime.now(UTC) - self.began) * 50


def test_an_exit_is_noticed_reported_and_leaves_no_zombie(host: LocalHost) -> None:
    engine = host.started()
    with watching(engine) as changed:
        os.kill(host.leader("web-2"), signal.SIGKILL)
        assert changed.wait(timeout=120)
        shown = host.shown(engine)
    assert shown.state is ServiceState.PARTLY_RUNNING
    assert [(c.name, c.state, c.exit_code) for c in shown.containers] == [
        ("web-1", ContainerState.RUNNING, None),
        ("web-2", ContainerState.STOPPED, 137),
    ]
    assert shown.containers[1].stopped is not None
    assert zombies() == []


@pytest.mark.slow
@pytest.mark.parametrize("policy", [Autorestart.ON_FAILURE, Autorestart.ALWAYS])
def test_a_failed_process_is_restarted_as_a_new_container_of_the_same_name(
    host: LocalHost, policy: Autorestart
) -> None:
    engine = host.engine(clock=FastClock())
    before = engine.start(host.service(autorestart=policy), host.run()).containers_after
    old = host.leader("web-1")
    with watching(engine):
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: host.shown(engine).containers[0].id not in before, "the restart")
        wait_until(lambda: host.process_names() == ["web-1", "web-2"], "both processes")
    assert host.names(engine) == ["web-1", "web-2"]
    after = tuple(c.id for c in host.shown(engine).containers)
    assert after[1] == before[1]
    assert zombies() == []


def test_a_restart_that_cannot_start_is_tried_again_later(host: LocalHost, tmp_path: Path) -> None:
    engine = host.engine(clock=FastClock())
    folder = tmp_path / "folder"
    folder.mkdir()
    engine.start(host.service(target=1, working_dir=str(folder), autorestart=Autorestart.ALWAYS), host.run())
    folder.rename(tmp_path / "away")
    with watching(engine):
        os.kill(host.leader("web-1"), signal.SIGKILL)
        wait_until(lambda: not host.pids(), "the end")
        wait_until(lambda: host.shown(engine).containers[0].state is ContainerState.STARTING, "the wait for a restart")
        (tmp_path / "away").rename(folder)
        wait_until(lambda: host.names(engine) == ["web-1"], "the restart")
    assert host.process_names() == ["web-1"]


def test_a_container_ends_with_its_first_process(host: LocalHost, tmp_path: Path) -> None:
    engine = host.engine()
    note = tmp_path / "note"
    engine.start(
        host.service(f"env -i sleep 1000 & echo $! > {note}; while :; do sleep 0.02; done", target=1), host.run()
    )
    child = int(wait_for_lines(note, 1)[0])
    with watching(engine) as changed:
        leader = host.leader("web-1")
        os.kill(leader, signal.SIGKILL)
        assert changed.wait(timeout=120)
    assert not is_alive(child)
    assert host.pids() == set()


@pytest.mark.slow
def test_supervision_does_not_bring_back_what_an_action_ends(host: LocalHost) -> None:
    engine = host.engine(clock=FastClock())
    with watching(engine):
        for _ in range(3):
            engine.start(host.service(target=3, autorestart=Autorestart.ALWAYS), host.run())
            engine.redeploy(host.service("exec sleep 2000", target=3, autorestart=Autorestart.ALWAYS), host.run())
            assert host.process_names() == ["web-1", "web-2", "web-3"]
            engine.scale(host.service(), 1, host.run())
            assert host.process_names() == ["web-1"]
            engine.stop(host.service(), host.run())
            assert host.process_names() == []
    assert zombies() == []


def test_actions_on_one_service_wait_for_each_other(host: LocalHost) -> None:
    engine = host.engine()
    runs = [host.run() for _ in range(4)]
    threads = [threading.Thread(target=engine.redeploy, args=(host.service(), run)) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
    assert host.process_names() == ["web-1", "web-2"]


def test_a_restart_recorded_by_a_server_that_died_is_carried_out_once(host: LocalHost) -> None:
    """The server died after it wrote that it restarts the process, and before it could note that it had."""
    clock = FastClock()
    host.engine().start(host.service(target=1, autorestart=Autorestart.ALWAYS), host.run())
    old = host.leader("web-1")

    def clock_until_restart() -> datetime:
        if host.pids() - {old}:
            raise OSError("nothing is recorded from here on")
        return clock()

    with watching(host.engine(clock=clock_until_restart)):
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: host.pids() - {old}, "the restart")
    restarted = host.leader("web-1")
    later = host.engine()
    assert host.shown(later).containers[0].state is ContainerState.STARTING
    with watching(later):
        wait_until(lambda: host.names(later) == ["web-1"], "the adoption")
    assert host.leader("web-1") == restarted


def test_output_that_grew_too_large_is_rotated_while_it_is_written(host: LocalHost) -> None:
    engine = host.engine(max_output_bytes=1000)
    command = "i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo line $i; done; exec sleep 1000"
    engine.start(host.service(command, target=1), host.run())
    output = host.data_dir / host.uuid / "output"
    with watching(engine):
        wait_until(lambda: sorted(p.name.split(".", 1)[1] for p in output.iterdir()) == ["log", "log.1"], "a rotation")
        assert engine.logs(host.service(), 1).text == "line 400"


def test_the_output_of_a_service_whose_record_is_damaged_is_rotated(host: LocalHost) -> None:
    host.started("while sleep 0.01; do echo line; done", target=1)
    folder = host.data_dir / host.uuid
    record = (folder / "service.json").read_text()
    (folder / "service.json").write_text("damaged")
    try:
        with watching(host.engine(max_output_bytes=20)):
            wait_until(lambda: list((folder / "output").glob("*.log.1")), "a rotation")
    finally:
        (folder / "service.json").write_text(record)
