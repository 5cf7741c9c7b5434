"""`tutumd backup`: what was answered is in a backup, and a backup is whole or not at all."""

import fcntl
import os
import signal
import sqlite3
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.acceptance.backups import run_killed, says, tutumd, users
from tests.faults.databases import SqliteDisk, small_disk
from tests.support.postgres_bed import PostgresBed, programs
from tests.support.server import BIN, LIMIT_S, LiveServer
from tests.support.waiting import wait_until

SECRET = "the-token-of-a-sender"
VERIFY = {"preset": "token", "header": "X-Hook", "secrets": [SECRET]}


@contextmanager
def calls(server: LiveServer, path: str) -> Iterator[list[str]]:
    """Call a handler all the time; yield the User-Agents of the calls that were answered 202."""
    answered: list[str] = []
    stop = threading.Event()

    def call(caller: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            agent = f"caller-{caller}-{number}"
            assert server.post(path, User_Agent=agent, X_Hook=SECRET).status == 202
            answered.append(agent)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def make_backup(database_url: str, server: LiveServer, target: Path) -> None:
    if database_url.startswith("sqlite"):
        done = tutumd("backup", target, "--data-dir", server.data)
        assert done.returncode == 0, done.stderr
        return
    told = tutumd("backup", target, "--data-dir", server.data, "--database", database_url)
    says(told, "the database is on PostgreSQL")
    line = next(line for line in told.stderr.decode().splitlines() if "pg_dump --format" in line)
    subprocess.run(["sh", "-ec", line], check=True, env=os.environ | {"PATH": postgres_path()}, timeout=LIMIT_S)


def restore_elsewhere(database_url: str, backup: Path, data: Path, request: pytest.FixtureRequest) -> str:
    """Restore as on another machine, and return the URL of the database there."""
    if database_url.startswith("sqlite"):
        done = tutumd("restore", backup, "--data-dir", data)
        assert done.returncode == 0, done.stderr
        return f"sqlite:///{data}/tutumd.db"
    bed: PostgresBed = request.getfixturevalue("postgres_bed")
    url = bed.new_database()
    command = ["pg_restore", "--exit-on-error", "--no-owner", f"--dbname={url}", str(backup)]
    subprocess.run(command, check=True, env=os.environ | {"PATH": postgres_path()}, timeout=LIMIT_S)
    return url


def postgres_path() -> str:
    return f"{programs()}:{os.environ['PATH']}"


@pytest.mark.slow
def test_each_call_that_was_answered_before_a_backup_is_in_it(
    database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    if database_url.startswith("sqlite"):
        database_url = f"sqlite:///{here}/data/tutumd.db"
    options = ("--engine", "local", "--database", database_url)
    with LiveServer(here, *options) as server:
        service = server.create_service("web")["uuid"]
        handler = server.make_handler(service, verify=VERIFY, debounce=3600)
        path = f"{handler['resource_uri']}call/"
        with calls(server, path) as answered:
            wait_until(lambda: len(answered) > 100, "calls are answered")
            before = list(answered)
            make_backup(database_url, server, tmp_path / "backup")
            wait_until(lambda: len(answered) > len(before) + 20, "calls go on")
        assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o600
        assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["backup"]
        key = (server.data / "secret.key").read_text()
    restored = restore_elsewhere(database_url, tmp_path / "backup", there / "data", request)
    environment = {} if restored.startswith("sqlite") else {"TUTUMD_SECRET_KEY": key}
    with LiveServer(there, "--engine", "local", "--database", restored, environment=environment) as server:
        agents = {each["user_agent"] for each in server.objects(f"{handler['resource_uri']}delivery/")}
        assert set(before) <= agents
        assert server.post(path, X_Hook=SECRET).status == 202, "the secret can be read"
        assert server.service(service)["name"] == "web"


@pytest.mark.slow
def test_a_backup_replaces_nothing_but_a_backup(backup: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    device = tmp_path / "null"
    device.symlink_to("/dev/null")
    for target in (data / "tutumd.db", data / "secret.key", device, tmp_path):
        before = target.read_bytes() if target.is_file() else b""
        says(
            tutumd("backup", target, "--data-dir", data),
            f"{target} exists and is not a tutumd backup",
        )
        assert target.is_file() == bool(before) and (not before or target.read_bytes() == before)
    assert device.is_symlink()
    assert tutumd("backup", backup, "--data-dir", data).returncode == 0
    backup.write_bytes(b"")  # as mktemp makes it
    assert tutumd("backup", backup, "--data-dir", data).returncode == 0


@pytest.mark.slow
def test_a_backup_follows_no_link_and_takes_no_file_that_was_planted(backup: Path, tmp_path: Path) -> None:
    (folder := tmp_path / "shared").mkdir()
    target, victim = folder / "new.tar", tmp_path / "victim"
    victim.write_text("precious")
    victim.chmod(0o666)
    for end in (".part", ".part-db", ".part-x", ".backup", ".new"):
        (folder / f"new.tar{end}").symlink_to(victim)
    (folder / "new.tar.part-0").symlink_to(tmp_path / "data")
    (folder / "new.tar.part-1").mkdir()
    (folder / "new.tar.part-1" / "db").symlink_to(victim)
    target.touch()
    target.chmod(0o666)
    before = sorted(path.name for path in folder.iterdir())
    done = tutumd("backup", target, "--data-dir", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert victim.read_text() == "precious"
    assert (tmp_path / "data" / "tutumd.db").exists()
    assert stat.S_IMODE(target.lstat().st_mode) == 0o600
    left = sorted(path.name for path in folder.iterdir())
    assert left == [name for name in before if name != "new.tar.part-1"], "that one looked like one of a killed backup"
    assert tutumd("restore", target, "--data-dir", tmp_path / "other").returncode == 0


def test_a_backup_through_a_pipe_is_the_same(backup: Path, tmp_path: Path) -> None:
    written = tutumd("backup", "-", "--data-dir", tmp_path / "data")
    assert written.returncode == 0, written.stderr
    done = tutumd("restore", "-", "--data-dir", tmp_path / "other", stdin=written.stdout)
    assert done.returncode == 0, done.stderr
    assert users(tmp_path / "other") == users(tmp_path / "data")
    assert not list((tmp_path / "data").glob("*.backup*"))


def test_a_terminal_gets_no_backup(backup: Path, tmp_path: Path) -> None:
    main, terminal = os.openpty()
    command = [str(BIN / "tutumd"), "backup", "-", "--data-dir", str(tmp_path / "data")]
    done = subprocess.run(command, stdout=terminal, stderr=subprocess.PIPE, timeout=LIMIT_S, check=False)
    says(done, "a terminal cannot show a backup: redirect the output, or give a file instead of -")
    os.close(main)
    os.close(terminal)


def test_a_backup_waits_for_no_turn_of_a_server_and_not_beside_another_one(backup: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    turn = os.open(data, os.O_RDONLY)
    fcntl.flock(turn, fcntl.LOCK_EX)
    done = tutumd("backup", backup, "--data-dir", data)
    assert done.returncode == 0, done.stderr
    os.close(turn)
    with (data / "backup.lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        says(tutumd("backup", backup, "--data-dir", data), "another backup of this database is being written")


@pytest.mark.slow
def test_a_backup_into_a_pipe_or_file_that_is_full_says_so(backup: Path, tmp_path: Path) -> None:
    command = [str(BIN / "tutumd"), "backup", "-", "--data-dir", str(tmp_path / "data")]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=LIMIT_S, check=False)
    says(done, "no backup was written: standard output: No space left on device")
    assert not list((tmp_path / "data").glob("*.backup*"))


@pytest.mark.nightly
def test_a_backup_that_is_killed_at_any_step_leaves_the_former_one(backup: Path, tmp_path: Path) -> None:
    former = backup.read_bytes()
    for nth in range(1, 100):
        backup.write_bytes(former)
        code = run_killed(nth, tmp_path, "backup", backup, "--data-dir", tmp_path / "data")
        if code == 0:
            break
        assert code == -signal.SIGKILL
        assert backup.read_bytes() == former
    assert nth > 5
    assert [path.name for path in tmp_path.glob("backup*")] == ["backup.tar"]
    done = tutumd("restore", backup, "--data-dir", tmp_path / "other")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SqliteDisk]:
    (tmp_path / "small").mkdir()
    with small_disk(tmp_path / "small") as made:
        yield made


@pytest.mark.slow
def test_a_full_disk_leaves_nothing_half_done(disk: SqliteDisk, backup: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    target = disk.data / "backup.tar"
    assert tutumd("backup", target, "--data-dir", data).returncode == 0
    former = target.read_bytes()
    grow = "CREATE TABLE filler AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
    with closing(sqlite3.connect(data / "tutumd.db")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA wal_autocheckpoint = 0")
        database.execute(f"{grow} SELECT randomblob(3000) FROM n")
        database.commit()
        # What the main file does not tell yet.
        says(tutumd("backup", target, "--data-dir", data), "no backup was written: .*: database or disk is full")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    says(tutumd("backup", target, "--data-dir", data), "no backup was written: it needs .* MB are free")
    assert target.read_bytes() == former
    assert tutumd("backup", tmp_path / "large.tar", "--data-dir", data).returncode == 0
    done = tutumd("restore", tmp_path / "large.tar", "--data-dir", disk.data / "data")
    says(done, f"the backup was not restored: {disk.data}/data: No space left on device; nothing was changed")
    assert sorted(path.name for path in disk.data.rglob("*") if path.stat().st_size and path.is_file()) == [
        "backup.tar"
    ]
