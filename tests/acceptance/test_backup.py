"""`tutumd backup` and `tutumd restore`: what was answered is in a backup, and a restore is whole or not at all."""

import io
import json
import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from tests.acceptance.console import run_tutumd
from tests.faults.databases import SqliteDisk, small_disk
from tests.support import killed_program
from tests.support.postgres_bed import PostgresBed, programs
from tests.support.server import BIN, LIMIT_S, LiveServer
from tests.support.waiting import wait_until
from tutumd.errors import SettingsError
from tutumd.main.restore import restore

Ran = subprocess.CompletedProcess[bytes]
SECRET = "the-token-of-a-sender"
VERIFY = {"preset": "token", "header": "X-Hook", "secrets": [SECRET]}


def tutumd(*arguments: str | Path, stdin: bytes = b"") -> Ran:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TUTUM")}
    words = list(map(str, arguments))
    # A backup gives way to other processes from then on, and a server goes on.
    if words[0] in ("user", "restore") and not stdin:
        return run_tutumd(clean, *words)
    command = [str(BIN / "tutumd"), *words]
    return subprocess.run(command, input=stdin, capture_output=True, env=clean, timeout=LIMIT_S, check=False)


def says(done: Ran, pattern: str) -> None:
    """Assert that a command failed with one line."""
    text = done.stderr.decode()
    assert done.returncode == 1 and re.search(pattern, text), (done.returncode, text)
    assert "Traceback" not in text


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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data` of a stopped server, and `backup.tar`, which lacks its newest user, `after`."""
    folder = tmp_path_factory.mktemp("made")
    data = folder / "data"
    with LiveServer(folder, "--engine", "local"):
        assert tutumd("user", "add", "before", "--data-dir", data).returncode == 0
        done = tutumd("backup", folder / "backup.tar", "--data-dir", data)
        assert done.returncode == 0, done.stderr
    assert tutumd("user", "add", "after", "--data-dir", data).returncode == 0
    return folder


@pytest.fixture
def backup(made: Path, tmp_path: Path) -> Path:
    """The backup of `made`, beside a copy of its `data`."""
    (tmp_path / "data").mkdir(mode=0o700)
    for name in ("backup.tar", "data/tutumd.db", "data/secret.key"):
        shutil.copy2(made / name, tmp_path / name)
    return tmp_path / "backup.tar"


def users(data: Path) -> list[str]:
    with closing(sqlite3.connect(data / "tutumd.db")) as database:
        return [name for (name,) in database.execute("SELECT name FROM users ORDER BY created")]


@pytest.mark.slow
def test_a_restore_is_refused_where_it_would_do_harm(backup: Path, tmp_path: Path) -> None:
    says(tutumd("restore", backup, "--data-dir", tmp_path / "data"), "there is a database .*--force replaces it")
    with LiveServer(tmp_path, "--engine", "local"):
        refused = tutumd("restore", backup, "--force", "--data-dir", tmp_path / "data")
        says(refused, "another tutumd works with the data folder .*: stop it")
    assert users(tmp_path / "data")[-1] == "after"


@pytest.mark.slow
def test_a_forced_restore_keeps_what_was_there(backup: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "secret.key").write_text("another key")
    # The newest user is in the -wal alone, as after a crash.
    with closing(sqlite3.connect(data / "tutumd.db")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("UPDATE users SET name = 'crashed' WHERE name = 'after'")
        database.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('installation', 'staging')")
        database.commit()
        (data / "copy-wal").write_bytes((data / "tutumd.db-wal").read_bytes())
        main = (data / "tutumd.db").read_bytes()
    (data / "tutumd.db").write_bytes(main)
    (data / "copy-wal").rename(data / "tutumd.db-wal")
    done = tutumd("restore", backup, "--force", "--data-dir", data)
    assert done.returncode == 0, done.stderr
    assert users(data)[-1] == "before"
    with closing(sqlite3.connect(data / "tutumd.db")) as database:
        kept = database.execute("SELECT value FROM meta WHERE key = 'installation'").fetchall()
        assert kept == [("staging",)], "it would take the redeploys of where the backup is from for its own"
    (old,) = data.glob("tutumd.db.before-*")
    with closing(sqlite3.connect(old)) as database:
        assert database.execute("SELECT name FROM users ORDER BY created DESC").fetchone() == ("crashed",)
    (old_key,) = data.glob("secret.key.before-*")
    assert old_key.read_text() == "another key"
    assert f"the old one is {old}" in done.stdout.decode()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (data / "tutumd.db", data / "secret.key")}
    assert set(modes.values()) == {0o600}, modes
    with LiveServer(tmp_path, "--engine", "local"):
        pass


@pytest.mark.slow
def test_a_restore_applies_no_wal_of_a_database_that_was_deleted(backup: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert tutumd("restore", backup, "--force", "--data-dir", data).returncode == 0
    with closing(sqlite3.connect(data / "tutumd.db")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("UPDATE users SET name = 'crashed' WHERE name = 'before'")
        database.commit()
        wal = (data / "tutumd.db-wal").read_bytes()
    (data / "tutumd.db").unlink()
    (data / "tutumd.db-wal").write_bytes(wal)
    done = tutumd("restore", backup, "--data-dir", data)
    assert done.returncode == 0, done.stderr
    assert users(data)[-1] == "before"
    assert [path.read_bytes() for path in data.glob("tutumd.db.before-*-wal")] == [wal]


@pytest.mark.slow
def test_a_backup_replaces_nothing_but_a_backup(backup: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    device = tmp_path / "null"
    device.symlink_to("/dev/null")
    for target in (data / "tutumd.db", data / "secret.key", device, tmp_path):
        before = target.read_bytes() if target.is_file() else b""
        says(tutumd("backup", target, "--data-dir", data), f"{target} is there, and is no backup: give another name")
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


@pytest.mark.slow
def test_a_damaged_database_can_be_replaced_and_not_backed_up(backup: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    content = bytearray((data / "tutumd.db").read_bytes())
    content[4096 : 4096 * 20] = os.urandom(4096 * 19)
    (data / "tutumd.db").write_bytes(content)
    says(tutumd("backup", tmp_path / "new.tar", "--data-dir", data), r"tutumd\.db is damaged: .*nothing was written")
    assert not list(tmp_path.glob("new*"))
    assert tutumd("restore", backup, "--force", "--data-dir", data).returncode == 0
    assert users(data)[-1] == "before"


def changed(backup: Path, change: Callable[[bytearray], object]) -> bytes:
    content = bytearray(backup.read_bytes())
    change(content)
    return bytes(content)


def rewritten(backup: Path, **told: object) -> bytes:
    """Return a backup whose manifest says something else."""
    made = io.BytesIO()
    with tarfile.open(backup) as source, tarfile.open(fileobj=made, mode="w") as target:
        for member in source:
            file = source.extractfile(member)
            assert file is not None
            content = file.read()
            if member.name == "manifest.json":
                content = json.dumps(json.loads(content) | told).encode()
                member.size = len(content)
            target.addfile(member, io.BytesIO(content))
    return made.getvalue()


def with_manifest(manifest: bytes) -> bytes:
    """Return an archive that holds nothing but a manifest."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as target:
        member = tarfile.TarInfo("manifest.json")
        member.size = len(manifest)
        target.addfile(member, io.BytesIO(manifest))
    return made.getvalue()


def test_a_backup_shows_no_control_characters_on_the_terminal(backup: Path, tmp_path: Path) -> None:
    for content in (
        rewritten(backup, format=2, version="9\x1b]0;evil\x07"),
        changed(backup, lambda content: content.__setitem__(slice(0, 4), b"\x1b]0;")),
    ):
        (given := tmp_path / "given\x1b]0;evil").write_bytes(content)
        done = tutumd("restore", given, "--data-dir", tmp_path / "empty")
        says(done, "nothing was changed")
        assert b"\x1b" not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_backup_that_cannot_be_used_is_refused_with_the_reason(backup: Path, tmp_path: Path) -> None:
    size = backup.stat().st_size
    data = tmp_path / "empty"
    dump = b"PGDMP" + b"\0" * 100
    cases = [
        *[
            (changed(backup, lambda content, end=end: content.__delitem__(slice(end, None))), "damaged|no backup")  # type: ignore[misc]
            for end in (0, 1, 300, 700, size // 2, size - 20_000)
        ],
        *[
            (changed(backup, lambda content, at=at: content.__setitem__(at, content[at] ^ 1)), "damaged|no backup")  # type: ignore[misc]
            for at in (3, backup.read_bytes().index(b"sha256") + 20, 5000, size // 2)
        ],
        (rewritten(backup, schema="9999"), "of a newer tutumd, .*, with schema 9999: restore it with that version"),
        (rewritten(backup, format=2, version="9.9"), "of a newer tutumd, 9.9: restore it with that version"),
        *[
            (rewritten(backup, **told), "damaged: its manifest.json cannot be read")
            for told in cast(
                list[dict[str, Any]],
                [
                    {"files": {"../x": {}}},
                    {"files": ["tutumd.db"]},
                    {"files": "tutumd.db"},
                    {"files": None},
                    {"files": {}},
                    {"more": 1},
                    {"format": "1"},
                    {"format": None},
                    {"version": 1},
                    {"schema": ["0007"]},
                    {"created": {"at": 1}},
                    {"created": "2026\x1b]0;evil\x07"},
                    {"created": "2026\u202e"},
                    {"created": "2" * 1000},
                ],
            )
        ],
        *[
            (
                rewritten(backup, files={"tutumd.db": described, "secret.key": {}}),
                "damaged: its tutumd.db is not as its manifest.json says",
            )
            for described in cast(list[object], [[], None, {"bytes": 1e999, "sha256": 0}, {"bytes": "1", "sha256": ""}])
        ],
        *[
            (with_manifest(manifest), "damaged: its manifest.json cannot be read")
            for manifest in (b"[" * 60_000, b'{"format": ' + b"9" * 5000 + b"}", b"null", b"[]", b"\xff", b"{}", b"")
        ],
        ((tmp_path / "data" / "tutumd.db").read_bytes(), "a bare SQLite database: stop tutumd"),
        (dump, "a dump of PostgreSQL: restore it with pg_restore"),
        (b"\x1f\x8b" + b"\0" * 100, "gunzip -c FILE | tutumd restore -"),
        (b"hello", "no backup"),
    ]
    given = tmp_path / "given"
    for content, reason in cases:
        given.write_bytes(content)
        with pytest.raises(SettingsError, match=f"given is (?s:.*)({reason}).*; nothing was changed$"):
            restore(str(given), {"data_dir": data}, force=False)
        assert not list(data.glob("tutumd.db*"))
    says(tutumd("restore", tmp_path / "none", "--data-dir", data), "none: No such file .*; nothing was changed")
    postgres = tutumd("restore", backup, "--database", "postgresql://u@127.0.0.1/x", "--data-dir", data)
    says(postgres, "pg_restore")
    (tmp_path / "file").touch()
    inside = tutumd("restore", backup, "--data-dir", tmp_path / "file" / "data")
    says(inside, f"the backup was not restored: {tmp_path}/file.*: Not a directory; nothing was changed")


def test_a_backup_through_a_pipe_is_the_same(backup: Path, tmp_path: Path) -> None:
    written = tutumd("backup", "-", "--data-dir", tmp_path / "data")
    assert written.returncode == 0, written.stderr
    done = tutumd("restore", "-", "--data-dir", tmp_path / "other", stdin=written.stdout)
    assert done.returncode == 0, done.stderr
    assert users(tmp_path / "other") == users(tmp_path / "data")
    assert not list((tmp_path / "data").glob("*.backup*"))


@pytest.mark.slow
def test_a_backup_into_a_pipe_or_file_that_is_full_says_so(backup: Path, tmp_path: Path) -> None:
    command = [str(BIN / "tutumd"), "backup", "-", "--data-dir", str(tmp_path / "data")]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=LIMIT_S, check=False)
    says(done, "no backup was written: standard output: No space left on device")
    assert not list((tmp_path / "data").glob("*.backup*"))


def run_killed(nth: int, folder: Path, *arguments: str | Path) -> int:
    command = [sys.executable, killed_program.__file__, str(nth), str(folder), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=LIMIT_S, check=False).returncode


@pytest.mark.nightly
def test_a_restore_that_is_killed_at_any_step_can_be_repeated(backup: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with closing(sqlite3.connect(data / "tutumd.db")) as database:
        database.execute("PRAGMA journal_mode = DELETE")
    (data / "secret.key").write_text("another key\n")
    before = {name: (data / name).read_bytes() for name in ("tutumd.db", "secret.key")}
    half_restored = 0
    for nth in range(1, 100):
        for path in data.glob("*.before-*"):
            path.unlink()
        for name, content in before.items():
            (data / name).write_bytes(content)
        code = run_killed(nth, data, "restore", backup, "--force", "--data-dir", data)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        has_new_key = (data / "secret.key").read_text() != "another key\n"
        if (data / "tutumd.db.restoring").exists():
            half_restored += 1
            if has_new_key:
                says(tutumd("web", "--port", "0", "--data-dir", data), "half restored: run tutumd restore again")
        else:
            assert (users(data)[-1] == "before") == has_new_key
        restore(str(backup), {"data_dir": data}, force=True)
        assert users(data)[-1] == "before"
        assert not list(data.glob("tutumd.db.restor*"))
    assert nth > 10 and half_restored > 3


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
        says(tutumd("backup", target, "--data-dir", data), "no backup was written to .*: database or disk is full")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    says(tutumd("backup", target, "--data-dir", data), "no backup was written: it needs .* MB are free")
    assert target.read_bytes() == former
    assert tutumd("backup", tmp_path / "large.tar", "--data-dir", data).returncode == 0
    done = tutumd("restore", tmp_path / "large.tar", "--data-dir", disk.data / "data")
    says(done, f"the backup was not restored: {disk.data}/data: No space left on device; nothing was changed")
    assert sorted(path.name for path in disk.data.rglob("*") if path.stat().st_size and path.is_file()) == [
        "backup.tar"
    ]
