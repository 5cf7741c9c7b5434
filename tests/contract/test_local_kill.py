"""Recovery of the engine `local` after its server was killed or the machine restarted."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from tests.contract.engines.verbs import watching
from tests.contract.local_support import PATIENT_S, SLEEP, LocalHost
from tests.support.programs import running
from tests.support.runs import FakeRun, Killed
from tests.support.waiting import wait_until
from tutumd.engines.local.engine import LocalEngine
from tutumd.model import ContainerState, Outcome, Service, ServiceState

NEWER = "exec sleep 2000"
Verb = Callable[[LocalEngine, Service, FakeRun], Outcome]


def start(engine: LocalEngine, service: Service, run: FakeRun) -> Outcome:
    return engine.start(service, run)


def redeploy(engine: LocalEngine, service: Service, run: FakeRun) -> Outcome:
    return engine.redeploy(service, run)


def scale_up(engine: LocalEngine, service: Service, run: FakeRun) -> Outcome:
    return engine.scale(service, 3, run)


class DyingClock:
    """A clock that is killed at its Nth call: the engine reads it between each spawn and its record."""

    def __init__(self, kill_at: int) -> None:
        self.calls = 0
        self.kill_at = kill_at

    def __call__(self) -> datetime:
        self.calls += 1
        if self.calls == self.kill_at:
            raise Killed(f"at call {self.calls} of the clock")
        return datetime.now(UTC)


@pytest.mark.slow
@pytest.mark.parametrize("verb", [start, redeploy, scale_up])
def test_a_verb_killed_between_a_start_and_its_record_adopts_what_runs(host: LocalHost, verb: Verb) -> None:
    for call in range(1, 1000):
        begin_with_two(host, running=verb is not start)
        run = host.run()
        try:
            verb(host.engine(clock=DyingClock(call)), host.service(NEWER), run)
        except Killed:
            cut_off = host.pids()
            outcome = verb(host.engine(), host.service(NEWER), run.again())
        else:
            assert call > 1, "the verb was never killed"
            return
        names = ["web-1", "web-2", "web-3"] if verb is scale_up else ["web-1", "web-2"]
        assert outcome.success
        assert host.process_names() == names
        assert len(cut_off & host.pids()) == (call if verb is not scale_up else 3)


def test_a_failure_that_was_noted_is_what_the_action_ends_with(host: LocalHost, tmp_path: Path) -> None:
    begin_with_two(host)
    before = host.pids()
    flag = tmp_path / "flag"
    service = host.service(f"test -e {flag} || exit 4; {SLEEP}")
    run = host.run()
    for step in range(1, 1000):
        earlier, run = run, host.run(kill_at=step)
        with pytest.raises(Killed):
            host.engine(stable_s=PATIENT_S).redeploy(service, run)
        if "failure" in earlier.journal:  # one step after it was noted, the new set is given up
            break
    flag.touch()  # it would run now, but the action has failed
    outcome = host.engine().redeploy(service, run.again())
    assert (outcome.success, "exit code 4" in outcome.reason) == (False, True)
    assert host.pids() == before


def test_a_kept_container_that_ended_after_the_kill_is_replaced_on_resume(host: LocalHost) -> None:
    begin_with_two(host)
    run = host.run(kill_at=3)
    with pytest.raises(Killed):
        host.engine().scale(host.service(), 3, run)
    psutil.Process(next(pid for pid, e in host.processes().items() if e["TUTUM_CONTAINER_NAME"] == "web-1")).kill()
    wait_until(lambda: "web-1" not in host.process_names(), "the end of web-1")
    assert host.engine().scale(host.service(), 3, run.again()).success
    assert host.process_names() == ["web-1", "web-2", "web-3"]


@pytest.mark.slow
def test_a_new_set_that_ends_while_no_server_runs_is_no_success(host: LocalHost) -> None:
    ends = []
    for step in range(1, 1000):
        begin_with_two(host)
        before, run = host.pids(), host.run(kill_at=step)
        try:
            host.engine().redeploy(host.service(NEWER), run)
        except Killed:
            new = host.pids() - before
        else:
            break
        for pid in new:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda new=new: not new & host.pids(), "the end of the new set")  # type: ignore[misc] # early binding
        left = host.pids()
        outcome = host.engine().redeploy(host.service(NEWER), run.again())
        assert outcome.success is not bool(new), (step, outcome)
        if new:
            assert "ended" in outcome.reason
            assert host.pids() == left, step
            ends.append(left == before)
    assert any(ends)
    assert host.engine().redeploy(host.service(NEWER), host.run()).success


def test_a_new_set_that_no_living_server_has_watched_is_no_success_after_a_cancel(host: LocalHost) -> None:
    for step in range(1, 1000):
        begin_with_two(host)
        before, run = host.pids(), host.run(kill_at=step)
        try:
            host.engine().redeploy(host.service(NEWER), run)
        except Killed:
            pass
        else:
            assert step > 1
            return
        canceled = host.run(action_uuid=run.action_uuid, journal=run.journal, deadline_s=0)
        outcome = host.engine().redeploy(host.service(NEWER), canceled)
        assert not outcome.success, step
        assert "not stable yet" in outcome.reason
        assert host.pids() == before, step


SERVER = """
import signal, sys
from pathlib import Path
from tests.contract.local_support import LocalHost
# A program that is started in the background, as by `script/test &`, inherits that it ignores signals of a terminal.
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
host = LocalHost(Path(sys.argv[1]), uuid=sys.argv[2])
engine = host.engine()
assert engine.start(host.service(sys.argv[3]), host.run(action_uuid="0")).success
print("started", flush=True)
signal.pause()
"""


@contextmanager
def server_of(host: LocalHost, command: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server in a process of its own that has started the service with this command."""
    arguments = [sys.executable, "-c", SERVER, str(host.data_dir), host.uuid, command]
    with running(arguments, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"started\n"
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_processes_outlive_their_server_and_are_found_again(host: LocalHost, number: signal.Signals) -> None:
    host.engine()
    with server_of(host, "while :; do echo line; sleep 0.1; done") as server:
        os.killpg(server.pid, number)  # as a terminal does
        server.wait(120)
    engine = host.engine()
    assert host.names(engine) == ["web-1", "web-2"]
    written = engine.logs(host.service(), 10000).text
    wait_until(lambda: len(engine.logs(host.service(), 10000).text) > len(written), "more output without a server")
    before = host.pids()
    assert engine.redeploy(host.service(NEWER), host.run(action_uuid="1")).success
    assert not before & host.pids()
    assert host.process_names() == ["web-1", "web-2"]


def test_a_process_that_ended_while_no_server_ran_has_an_unknown_exit_code(host: LocalHost) -> None:
    host.engine()
    with server_of(host, SLEEP) as server:
        server.kill()
    for pid in host.pids():
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not host.pids(), "the end of the processes")
    engine = host.engine()
    with watching(engine) as changed:
        assert changed.wait(timeout=120)
        wait_until(lambda: all(c.stopped for c in host.shown(engine).containers), "both ends")
    shown = host.shown(engine)
    assert shown.state is ServiceState.NOT_RUNNING
    assert [(c.state, c.exit_code) for c in shown.containers] == [(ContainerState.STOPPED, None)] * 2


def test_the_exit_of_a_process_that_another_server_started_is_noticed(host: LocalHost) -> None:
    with server_of(host, SLEEP) as server:
        server.kill()
    engine = host.engine()
    with watching(engine) as changed:
        assert not changed.wait(timeout=0.6), "both are found running"
        os.kill(min(host.pids()), signal.SIGKILL)
        assert changed.wait(timeout=120)
    assert sorted(c.state for c in host.shown(engine).containers) == [ContainerState.RUNNING, ContainerState.STOPPED]


def test_after_a_restart_of_the_machine_no_other_process_is_taken_for_ours(host: LocalHost) -> None:
    """The processes stand for those of others with the same PIDs and start times."""
    begin_with_two(host)
    engine = host.engine(boot_id="another")
    assert host.shown(engine).running == 0
    assert host.shown(engine).state is ServiceState.NOT_RUNNING
    assert host.engine().scale(host.service(), 2, host.run()).success


def test_a_redeploy_cut_off_by_a_restart_of_the_machine_starts_its_set_again(host: LocalHost) -> None:
    begin_with_two(host)
    run = host.run(kill_in_sleep=True)
    with pytest.raises(Killed):
        host.engine(boot_id="earlier").redeploy(host.service(NEWER), run)
    for pid in host.pids():  # the machine goes down
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert host.engine().redeploy(host.service(NEWER), run.again()).success
    assert host.process_names() == ["web-1", "web-2"]


def test_a_damaged_record_is_left_alone_and_hides_no_other_service(host: LocalHost) -> None:
    begin_with_two(host)
    damaged = host.data_dir / "7a1c9b52-0f5e-4a55-9d4e-1b1f5a3c2d10" / "service.json"
    damaged.parent.mkdir()
    damaged.write_text("{")
    assert host.names(host.engine()) == ["web-1", "web-2"]
    assert damaged.read_text() == "{"
    damaged.unlink()
    damaged.parent.rmdir()


def begin_with_two(host: LocalHost, *, running: bool = True) -> None:
    """Bring the service to two processes of the older definition, or to none at all."""
    engine = host.engine(stable_s=0.0)
    engine.terminate(host.service(), host.run())
    if running:
        assert engine.start(host.service(), host.run()).success
