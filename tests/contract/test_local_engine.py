"""Processes of the engine `local`: environment, output, signals and failures."""

import os
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.contract.local_support import PATIENT_S, SLEEP, LocalHost, is_alive, wait_for_lines
from tests.support.waiting import wait_until
from tutumd.engines.local.procfs import read_environment


def test_a_service_that_was_never_started_is_not_shown(host: LocalHost) -> None:
    engine = host.engine()
    assert engine.discover() == ()
    assert engine.inspect(host.service()) is None
    assert engine.logs(host.service(), 10).text == ""


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


def test_only_the_owner_may_read_the_data_folder(host: LocalHost) -> None:
    host.engine().start(host.service(target=1), host.run())
    assert stat.S_IMODE(host.data_dir.stat().st_mode) == 0o700
    assert [path for path in host.data_dir.rglob("*") if path.stat().st_mode & 0o077] == []


@pytest.mark.slow
def test_the_old_processes_run_until_the_new_ones_are_stable(host: LocalHost, tmp_path: Path) -> None:
    host.started(target=1)
    (old,) = host.pids()
    note = tmp_path / "note"
    command = f"kill -0 {old} && echo old runs >> {note}; {SLEEP}"
    seen: list[tuple[bool, int]] = []
    run = host.run(on_sleep=lambda: seen.append((is_alive(old), len(host.pids()))))
    assert host.engine(stable_s=2.0).redeploy(host.service(command, target=1), run).success
    assert (True, 2) in seen
    assert wait_for_lines(note, 1) == ["old runs"]
    assert old not in host.pids()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (
            {"working_dir": "/no/such/folder"},
            "its working_dir /no/such/folder cannot be used: No such file or directory",
        ),
        ({"working_dir": "relative"}, "its working_dir must be an absolute path, got 'relative'"),
        ({"envvars": {"A": "x" * 140_000}}, "Argument list too long"),
        ({"envvars": {"A": "a\0b"}}, "null byte"),
        ({"envvars": {"A=B": "c"}}, "illegal"),
    ],
)
def test_a_definition_that_cannot_be_started_is_the_reason(
    host: LocalHost, fields: dict[str, Any], reason: str
) -> None:
    outcome = host.engine().start(host.service(**fields), host.run())
    assert not outcome.success
    assert outcome.reason.startswith("web-1 could not be started: ")
    assert reason in outcome.reason


def test_a_first_start_that_fails_leaves_nothing(host: LocalHost) -> None:
    engine = host.engine(stable_s=PATIENT_S)
    outcome = engine.start(host.service("exit 1"), host.run())
    assert not outcome.success
    assert engine.discover() == ()
    assert list(host.data_dir.iterdir()) == []


def test_processes_run_where_the_definition_says_or_in_a_folder_that_stays_theirs(
    host: LocalHost, tmp_path: Path
) -> None:
    engine = host.started(f"echo kept > note; {SLEEP}", target=1)
    engine.stop(host.service(), host.run())
    engine.start(host.service(f"cat note; {SLEEP}", target=1), host.run())
    assert wait_until(lambda: engine.logs(host.service(), 5).text, "output") == "kept"
    engine.redeploy(host.service(f"pwd; {SLEEP}", target=1, working_dir=str(tmp_path)), host.run())
    assert wait_until(lambda: engine.logs(host.service(), 5).text, "output") == str(tmp_path)


def test_a_scale_up_that_dies_leaves_the_running_ones_and_the_target(host: LocalHost, tmp_path: Path) -> None:
    engine = host.engine()
    flag = tmp_path / "flag"
    command = f"test ! -e {flag} || {{ echo no more; exit 9; }}; {SLEEP}"
    engine.start(host.service(command), host.run())
    before = host.pids()
    flag.touch()
    outcome = host.engine(stable_s=PATIENT_S).scale(host.service(), 4, host.run())
    assert not outcome.success
    assert "exit code 9" in outcome.reason
    assert outcome.log_tail == "no more"
    assert (host.pids(), host.shown(engine).target) == (before, 2)


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


def test_the_end_of_a_container_affects_no_process_in_the_session_of_another(host: LocalHost, tmp_path: Path) -> None:
    command = (
        f"echo $TUTUM_CONTAINER_ID > {tmp_path}/$TUTUM_CONTAINER_NAME; "
        f"if [ $TUTUM_CONTAINER_NAME = web-1 ]; then while ! [ -s {tmp_path}/web-2 ]; do sleep 0.02; done; "
        f"TUTUM_CONTAINER_ID=$(cat {tmp_path}/web-2) sleep 1000 & fi; {SLEEP}"
    )
    engine = host.started(command, target=2)
    ids = ("TUTUM_CONTAINER_ID", "TUTUM_CONTAINER_NAME")
    wait_until(
        lambda: len({tuple(map(each.get, ids)) for each in host.processes().values()}) == 3,
        "a process of web-1 with the variable of web-2",
    )
    assert engine.scale(host.service(command), 1, host.run()).success
    assert host.process_names() == ["web-1", "web-1"]


@pytest.mark.parametrize("stopped", [False, True], ids=["it runs", "a signal has stopped it"])
def test_a_process_has_time_to_end_by_itself(host: LocalHost, tmp_path: Path, stopped: bool) -> None:
    engine = host.engine(grace_s=120.0)
    note = tmp_path / "note"
    command = f"trap 'sleep 0.3; echo in peace >> {note}; exit' TERM; echo ready; while :; do sleep 0.05; done"
    engine.start(host.service(command, target=1), host.run())
    wait_until(lambda: "ready" in engine.logs(host.service(), 5).text, "the trap")
    if stopped:
        os.kill(host.leader("web-1"), signal.SIGSTOP)
    assert engine.stop(host.service(), host.run()).success
    assert note.read_text() == "in peace\n"


def test_the_output_of_containers_that_are_gone_is_removed(host: LocalHost) -> None:
    engine = host.started()
    engine.redeploy(host.service(), host.run())
    slots = {f"{c.id}.log" for c in host.shown(engine).containers}
    assert {path.name for path in (host.data_dir / host.uuid / "output").iterdir()} == slots


def test_a_process_keeps_its_environment_while_it_replaces_its_program(tmp_path: Path) -> None:
    program = tmp_path / "again"
    program.write_text('exec sh "$0"')
    with subprocess.Popen(["sh", str(program)], env={"MARK": "1", "PATH": os.defpath}) as restless:
        try:
            found = [b"MARK=1" in read_environment(restless.pid) for _ in range(10_000)]
        finally:
            restless.kill()
    assert found.count(False) == 0


def test_a_process_without_an_environment_has_none() -> None:
    with subprocess.Popen(["sleep", "1000"], env={}) as bare:
        assert read_environment(bare.pid) == frozenset()
        bare.kill()
        wait_until(lambda: read_environment(bare.pid) == frozenset(), "nor has it as a zombie")
