"""The contract of an engine, on real processes of this machine."""

import os
import signal
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.local_support import SLEEP, LocalHost, is_alive, local_host, wait_for_lines, zombies
from tests.support.waiting import wait_until
from tutumd.errors import EngineRefusedError
from tutumd.model import EngineInfo, ServiceState


@pytest.fixture
def host(tmp_path: Path) -> Iterator[LocalHost]:
    with local_host(tmp_path / "local") as made:
        yield made


def test_info_says_that_services_can_be_created(host: LocalHost) -> None:
    assert host.engine().info == EngineInfo(name="local", kind="local", can_create=True)


def test_a_service_that_was_never_started_is_not_shown(host: LocalHost) -> None:
    engine = host.engine()
    assert engine.discover() == ()
    assert engine.inspect(host.service()) is None
    assert engine.logs(host.service(), 10) == ""


def test_start_runs_the_target_number_of_processes(host: LocalHost) -> None:
    engine = host.engine()
    outcome = engine.start(host.service(target=3), host.run())
    assert (outcome.success, outcome.reason, outcome.containers_before) == (True, "", ())
    assert host.process_names() == ["web-1", "web-2", "web-3"]
    shown = host.shown(engine)
    assert (shown.state, shown.running, shown.target, shown.image_name) == (ServiceState.RUNNING, 3, 3, "free text")
    assert outcome.containers_after == tuple(c.id for c in shown.containers)
    assert outcome.image_after == shown.image_digest


def test_processes_run_in_sessions_of_their_own_without_input_and_with_a_clean_environment(host: LocalHost) -> None:
    engine = host.engine(environment={"PATH": os.environ["PATH"], "TUTUMD_DATABASE": "secret", "TERM": "xterm"})
    engine.start(host.service(SLEEP, target=1, envvars={"GREETING": "hi"}), host.run())
    ((pid, environment),) = host.processes().items()
    assert sorted(environment.keys() - {"PWD", "OLDPWD", "SHLVL", "_"}) == [  # those are the shell's own
        "GREETING",
        "HOME",
        "LANG",
        "PATH",
        "TUTUM_CONTAINER_ID",
        "TUTUM_CONTAINER_NAME",
        "TUTUM_SERVICE_NAME",
        "TUTUM_SERVICE_UUID",
    ]
    assert os.getsid(pid) == pid
    files = {number: os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")}
    assert sorted(files) == ["0", "1", "2"]
    assert files["0"] == "/dev/null"


def test_nobody_else_may_read_the_data_folder(host: LocalHost) -> None:
    host.engine().start(host.service(target=1), host.run())
    assert stat.S_IMODE(host.data_dir.stat().st_mode) == 0o700
    assert [path for path in host.data_dir.rglob("*") if path.stat().st_mode & 0o077] == []


def test_redeploy_replaces_every_process_by_one_of_the_current_definition(host: LocalHost) -> None:
    engine = host.engine()
    first = engine.start(host.service(), host.run())
    before = host.pids()
    outcome = engine.redeploy(host.service("exec sleep 2000"), host.run())
    assert outcome.success
    assert not before & host.pids()
    assert host.process_names() == ["web-1", "web-2"]
    assert outcome.containers_before == first.containers_after
    assert not set(outcome.containers_after) & set(outcome.containers_before)
    assert (outcome.image_before, outcome.image_after) == (first.image_after, host.shown(engine).image_digest)
    assert outcome.image_before != outcome.image_after
    assert host.shown(engine).run_command == "exec sleep 2000"


def test_the_old_processes_run_until_the_new_ones_are_stable(host: LocalHost, tmp_path: Path) -> None:
    engine = host.engine()
    engine.start(host.service(target=1), host.run())
    (old,) = host.pids()
    note = tmp_path / "note"
    command = f"kill -0 {old} && echo old runs >> {note}; {SLEEP}"
    waiting = threading.Event()

    class Watched(type(host.run())):  # type: ignore[misc] # a run that looks while the engine waits
        def sleep(self, seconds: float) -> None:
            if is_alive(old) and len(host.pids()) == 2:
                waiting.set()
            super().sleep(seconds)

    assert engine.redeploy(host.service(command, target=1), Watched()).success
    assert waiting.is_set()
    assert wait_for_lines(note, 1) == ["old runs"]
    assert old not in host.pids()


@pytest.mark.parametrize(
    ("command", "reason", "log_tail"),
    [
        ("no-such-command", "ended with exit code 127", "no-such-command: not found"),
        ("echo one; echo two >&2; exit 3", "ended with exit code 3", "one\ntwo"),
        ("kill -9 $$", "ended with exit code 137", ""),
        ("true", "ended with exit code 0", ""),
    ],
)
def test_a_new_set_that_dies_leaves_the_old_one_running(
    host: LocalHost, command: str, reason: str, log_tail: str
) -> None:
    engine = host.engine()
    engine.start(host.service(), host.run())
    before, shown = host.pids(), host.shown(engine)
    outcome = engine.redeploy(host.service(command, target=3), host.run())
    assert not outcome.success
    assert reason in outcome.reason
    assert log_tail in outcome.log_tail
    assert not outcome.rolled_back
    assert outcome.containers_after == outcome.containers_before
    assert outcome.image_after == outcome.image_before
    assert host.pids() == before
    assert host.shown(engine) == shown
    assert zombies() == []


@pytest.mark.parametrize(
    ("working_dir", "reason"),
    [
        ("/no/such/folder", "its working_dir /no/such/folder cannot be used: No such file or directory"),
        ("relative", "its working_dir must be an absolute path, got 'relative'"),
    ],
)
def test_a_working_folder_that_cannot_be_used_is_the_reason(host: LocalHost, working_dir: str, reason: str) -> None:
    outcome = host.engine().start(host.service(working_dir=working_dir), host.run())
    assert not outcome.success
    assert outcome.reason == f"web-1 could not be started: {reason}"


@pytest.mark.parametrize(
    ("envvars", "reason"),
    [({"A": "x" * 140_000}, "Argument list too long"), ({"A": "a\0b"}, "null byte"), ({"A=B": "c"}, "illegal")],
)
def test_an_environment_that_cannot_be_is_the_reason(host: LocalHost, envvars: dict[str, str], reason: str) -> None:
    outcome = host.engine().start(host.service(envvars=envvars), host.run())
    assert not outcome.success
    assert reason in outcome.reason


def test_a_first_start_that_fails_leaves_nothing(host: LocalHost) -> None:
    engine = host.engine()
    outcome = engine.start(host.service("exit 1"), host.run())
    assert not outcome.success
    assert engine.discover() == ()
    assert list(host.data_dir.iterdir()) == []


def test_processes_run_where_the_definition_says_or_in_a_folder_that_stays_theirs(
    host: LocalHost, tmp_path: Path
) -> None:
    engine = host.engine()
    engine.start(host.service(f"echo kept > note; {SLEEP}", target=1), host.run())
    engine.stop(host.service(), host.run())
    engine.start(host.service(f"cat note; {SLEEP}", target=1), host.run())
    assert wait_until(lambda: engine.logs(host.service(), 5), "output") == "kept"
    engine.redeploy(host.service(f"pwd; {SLEEP}", target=1, working_dir=str(tmp_path)), host.run())
    assert wait_until(lambda: engine.logs(host.service(), 5), "output") == str(tmp_path)


def test_a_redeployed_stopped_service_stays_stopped_and_runs_the_new_definition_later(host: LocalHost) -> None:
    engine = host.engine()
    engine.start(host.service(), host.run())
    engine.stop(host.service(), host.run())
    outcome = engine.redeploy(host.service("exec sleep 2000", target=1), host.run())
    assert outcome.success
    assert "stopped" in outcome.reason
    assert outcome.image_before != outcome.image_after
    assert host.pids() == set()
    assert host.shown(engine).state is ServiceState.STOPPED
    assert host.shown(engine).run_command == "exec sleep 2000"


def test_scale_up_keeps_what_runs_and_adds_the_same(host: LocalHost) -> None:
    engine = host.engine()
    engine.start(host.service(target=1), host.run())
    (kept,) = host.pids()
    outcome = engine.scale(host.service("exec sleep 2000"), 3, host.run())
    assert outcome.success
    assert kept in host.pids()
    assert host.process_names() == ["web-1", "web-2", "web-3"]
    assert host.shown(engine).run_command == SLEEP
    assert len(outcome.containers_after) == 3
    assert set(outcome.containers_before) < set(outcome.containers_after)


def test_scale_down_ends_the_newest(host: LocalHost) -> None:
    engine = host.engine()
    engine.start(host.service(target=3), host.run())
    assert engine.scale(host.service(), 1, host.run()).success
    assert host.process_names() == ["web-1"]
    assert (host.shown(engine).target, host.names(engine)) == (1, ["web-1"])


def test_scale_to_what_runs_succeeds_and_changes_nothing(host: LocalHost) -> None:
    engine = host.engine()
    engine.start(host.service(), host.run())
    before = host.pids()
    assert engine.scale(host.service(), 2, host.run()).success
    assert host.pids() == before


def test_a_service_scaled_to_zero_can_be_scaled_up_again(host: LocalHost) -> None:
    engine = host.engine()
    engine.start(host.service(), host.run())
    assert engine.scale(host.service(), 0, host.run()).success
    assert (host.pids(), host.shown(engine).state) == (set(), ServiceState.NOT_RUNNING)
    assert engine.scale(host.service(), 2, host.run()).success
    assert host.process_names() == ["web-1", "web-2"]


def test_a_scale_up_that_dies_leaves_the_running_ones_and_the_target(host: LocalHost, tmp_path: Path) -> None:
    engine = host.engine()
    flag = tmp_path / "flag"
    command = f"test ! -e {flag} || {{ echo no more; exit 9; }}; {SLEEP}"
    engine.start(host.service(command), host.run())
    before = host.pids()
    flag.touch()
    outcome = engine.scale(host.service(), 4, host.run())
    assert not outcome.success
    assert "exit code 9" in outcome.reason
    assert outcome.log_tail == "no more"
    assert (host.pids(), host.shown(engine).target) == (before, 2)


def test_a_stopped_service_is_not_scaled(host: LocalHost) -> None:
    engine = host.engine()
    engine.start(host.service(), host.run())
    engine.stop(host.service(), host.run())
    with pytest.raises(EngineRefusedError, match="stopped"):
        engine.scale(host.service(), 3, host.run())
    assert host.pids() == set()


def test_more_than_the_cap_is_refused(host: LocalHost) -> None:
    engine = host.engine()
    engine.start(host.service(), host.run())
    with pytest.raises(EngineRefusedError, match="0 to 10 containers, got 11"):
        engine.scale(host.service(), 11, host.run())
    assert len(host.pids()) == 2


def test_stop_and_start_bring_the_target_back_and_both_succeed_twice(host: LocalHost) -> None:
    engine = host.engine()
    engine.start(host.service(), host.run())
    for _ in range(2):
        assert engine.stop(host.service(), host.run()).success
        assert (host.pids(), host.shown(engine).state, host.shown(engine).target) == (set(), ServiceState.STOPPED, 2)
    for _ in range(2):
        assert engine.start(host.service(), host.run()).success
        assert host.process_names() == ["web-1", "web-2"]


def test_terminate_leaves_nothing_and_succeeds_twice(host: LocalHost) -> None:
    engine = host.engine()
    started = engine.start(host.service(), host.run())
    outcome = engine.terminate(host.service(), host.run())
    assert (outcome.success, outcome.containers_before, outcome.containers_after) == (
        True,
        started.containers_after,
        (),
    )
    assert (host.pids(), engine.discover(), list(host.data_dir.iterdir())) == (set(), (), [])
    assert engine.terminate(host.service(), host.run()).success


def test_everything_that_a_process_started_ends_with_it(host: LocalHost, tmp_path: Path) -> None:
    engine = host.engine(grace_s=0.3)
    pids = tmp_path / "pids"
    command = (
        f"(trap '' TERM; while :; do sleep 1; done) & echo $! >> {pids};"  # deaf to SIGTERM
        f"setsid sleep 1000 & echo $! >> {pids};"  # left the session
        f"env -i sleep 1000 & echo $! >> {pids};"  # without our mark
        f"sleep 1000 & kill -STOP $!; echo $! >> {pids};"  # stopped
        "wait"
    )
    engine.start(host.service(command, target=1), host.run())
    started = {int(line) for line in wait_for_lines(pids, 4)}
    assert all(is_alive(pid) for pid in started)
    assert engine.stop(host.service(), host.run()).success
    assert [pid for pid in started if is_alive(pid)] == []


def test_a_process_has_time_to_end_by_itself(host: LocalHost, tmp_path: Path) -> None:
    engine = host.engine()
    note = tmp_path / "note"
    command = f"trap 'sleep 0.3; echo in peace >> {note}; exit' TERM; echo ready; while :; do sleep 0.05; done"
    engine.start(host.service(command, target=1), host.run())
    wait_until(lambda: "ready" in engine.logs(host.service(), 5), "the trap")
    engine.stop(host.service(), host.run())
    assert note.read_text() == "in peace\n"


def test_a_process_that_was_stopped_by_a_signal_has_its_time_too(host: LocalHost, tmp_path: Path) -> None:
    engine = host.engine()
    note = tmp_path / "note"
    command = f"trap 'echo in peace >> {note}; exit' TERM; echo ready; while :; do sleep 0.05; done"
    engine.start(host.service(command, target=1), host.run())
    wait_until(lambda: "ready" in engine.logs(host.service(), 5), "the trap")
    (leader,) = [pid for pid in host.pids() if os.getsid(pid) == pid]
    os.kill(leader, signal.SIGSTOP)
    assert engine.stop(host.service(), host.run()).success
    assert note.read_text() == "in peace\n"


def test_logs_have_the_last_lines_of_each_container(host: LocalHost) -> None:
    engine = host.engine()
    engine.start(host.service(f"echo one; echo two; echo three >&2; {SLEEP}"), host.run())
    expected = "web-1 | two\nweb-1 | three\nweb-2 | two\nweb-2 | three"
    assert wait_until(lambda: engine.logs(host.service(), 2) == expected, "output")


def test_the_output_of_containers_that_are_gone_is_removed(host: LocalHost) -> None:
    engine = host.engine()
    engine.start(host.service(), host.run())
    engine.redeploy(host.service(), host.run())
    slots = {f"{c.id}.log" for c in host.shown(engine).containers}
    assert {path.name for path in (host.data_dir / host.uuid / "output").iterdir()} == slots


def test_steps_are_told_without_the_environment(host: LocalHost) -> None:
    run = host.run()
    host.engine().start(host.service(envvars={"PASSWORD": "hunter2"}), run)
    assert run.lines == ["started web-1, web-2"]


def test_the_deadline_of_the_action_ends_the_wait(host: LocalHost) -> None:
    engine = host.engine(stable_s=1000.0)
    outcome = engine.start(host.service(), host.run(deadline_s=0.2))
    assert not outcome.success
    assert "time for this action was over" in outcome.reason
    assert host.pids() == set()
