"""`tutumd restore`: a restore is whole or not at all, and refuses what is no backup."""

import io
import json
import os
import signal
import sqlite3
import stat
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from tests.acceptance.backups import run_killed, says, tutumd, users
from tests.support.server import LiveServer
from tutumd.errors import SettingsError
from tutumd.main.restore import restore


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
    assert f"the old file is {old}" in done.stdout.decode()
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
            (changed(backup, lambda content, end=end: content.__delitem__(slice(end, None))), "damaged|not a backup")  # type: ignore[misc]
            for end in (0, 1, 300, 700, size // 2, size - 20_000)
        ],
        *[
            (changed(backup, lambda content, at=at: content.__setitem__(at, content[at] ^ 1)), "damaged|not a backup")  # type: ignore[misc]
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
                "damaged: its tutumd.db does not match its manifest.json",
            )
            for described in cast(list[object], [[], None, 1e999, "", {"bytes": 1}])
        ],
        *[
            (with_manifest(manifest), "damaged: its manifest.json cannot be read")
            for manifest in (b"[" * 60_000, b'{"format": ' + b"9" * 5000 + b"}", b"null", b"[]", b"\xff", b"{}", b"")
        ],
        ((tmp_path / "data" / "tutumd.db").read_bytes(), "a bare SQLite database: stop tutumd"),
        (dump, "a dump of PostgreSQL: restore it with pg_restore"),
        (b"\x1f\x8b" + b"\0" * 100, "gunzip -c FILE | tutumd restore -"),
        (b"hello", "not a backup"),
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


@pytest.mark.nightly
def test_a_restore_that_is_killed_at_any_step_can_be_repeated(backup: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "secret.key").write_text("another key\n")
    with closing(sqlite3.connect(data / "tutumd.db")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('installation', 'staging')")
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.execute("UPDATE users SET name = 'crashed' WHERE name = 'after'")  # it is in the -wal alone
        database.commit()
        before = {name: (data / name).read_bytes() for name in ("tutumd.db", "tutumd.db-wal", "secret.key")}
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
        with closing(sqlite3.connect(data / "tutumd.db")) as database:
            assert database.execute("SELECT value FROM meta WHERE key = 'installation'").fetchone() == ("staging",)
        kept = [path for path in data.glob("tutumd.db.before-*") if not path.name.endswith(("-wal", "-shm"))]
        assert "crashed" in [name for path in kept for name in users(data, path.name)]
        assert not list(data.glob("tutumd.db.restor*"))
    assert nth > 10 and half_restored > 3
