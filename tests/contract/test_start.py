"""What keeps a server from starting: one error names the cause and the remedy, and nothing is made in its place."""

import os
import re
import stat
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.faults.databases import small_disk
from tests.support.guards import lacking
from tests.support.postgres_bed import PostgresBed
from tests.support.programs import finished, without_settings
from tutumd.errors import SettingsError
from tutumd.main.storage import open_storage
from tutumd.settings import PREFIX, Settings, read_settings
from tutumd.store.sql.database import Database

NOBODY = 65534


def start(data: Path, database: str | None = None) -> None:
    """Open the database and the data folder as `tutumd serve` does, and close them."""
    with open_storage(read_settings({"data_dir": data, "database": database}), serves_and_works=True):
        pass


def refusal(data: Path, database: str | None = None) -> str:
    """Start, which must fail, and return the error: one line without a password."""
    with pytest.raises(SettingsError) as caught:
        start(data, database)
    text = str(caught.value)
    assert "\n" not in text
    assert "p4ssw0rd" not in text
    return text


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a database."""
    folder = tmp_path / "data"
    start(folder)
    return folder


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


@pytest.mark.parametrize(
    ("offset", "content", "told"),
    [
        (0, b"this is no database " * 100, "it is damaged, or no SQLite database of this version"),
        (18, b"\3\3", "it is damaged, or no SQLite database of this version"),  # the format of a newer SQLite
        (100, b"\xaa" * 3900, "it is damaged: restore a backup"),
    ],
)
def test_a_file_that_is_damaged_or_no_database_is_told(data: Path, offset: int, content: bytes, told: str) -> None:
    overwrite(data / "tutumd.db", offset, content)
    assert told in refusal(data)
    assert content in (data / "tutumd.db").read_bytes()


def test_a_folder_in_place_of_the_file_is_told(data: Path) -> None:
    (data / "tutumd.db").unlink()
    (data / "tutumd.db").mkdir()
    assert "it must be a file, in a folder where this user may create files" in refusal(data)


def test_a_database_in_a_folder_that_does_not_exist_is_told(tmp_path: Path) -> None:
    assert "it cannot be opened" in refusal(tmp_path / "data", f"sqlite:///{tmp_path}/none/tutumd.db")


def test_a_read_only_disk_is_told(tmp_path: Path) -> None:
    with small_disk(tmp_path) as small:
        start(small.data)
        subprocess.run(["mount", "-o", "remount,ro", small.data], check=True, timeout=30)
        text = refusal(small.data)
    assert "cannot be used" in text
    assert "read-only" in text.lower()


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with small_disk(tmp_path) as small:
        start(small.data)
        small.fill()
        assert "its disk is full: free some space" in refusal(small.data)
        small.free()
        start(small.data)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "cause"), [(0o400, "read-only"), (0o000, "it cannot be opened")])
def test_a_file_that_may_not_be_written_is_told(mode: int, cause: str) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # where another user than root may look
        data = Path(name) / "data"
        start(data)
        (data / "tutumd.db").chmod(mode)
        code = f"import os; from pathlib import Path; from {__name__} import refusal; "
        if os.geteuid() == 0:
            for path in (Path(name), data, *data.iterdir()):
                os.chown(path, NOBODY, NOBODY)
            code += f"os.setgid({NOBODY}); os.setuid({NOBODY}); "
        code += f"print(refusal(Path({str(data)!r})))"
        done = finished([sys.executable, "-c", code])
    assert cause in done.stdout, done


def other_tables(url: str) -> set[str]:
    engine = Database(url)
    try:
        with engine.read() as connection:
            return set(sa.inspect(connection).get_table_names())
    finally:
        engine.close()


def test_another_applications_database_is_left_alone(database_url: str, tmp_path: Path) -> None:
    other = Database(database_url)
    with other.write() as connection:
        connection.execute(sa.text("CREATE TABLE notes (text VARCHAR(9))"))
    other.close()
    assert "the database is another application's, with a table 'notes'" in refusal(tmp_path / "data", database_url)
    assert other_tables(database_url) == {"notes"}


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_JP"])
def test_a_database_that_cannot_hold_every_text_is_told(
    postgres_bed: PostgresBed, tmp_path: Path, encoding: str
) -> None:
    assert refusal(tmp_path / "data", postgres_bed.new_database(encoding)) == (
        f"the database has the encoding {encoding}, and tutumd needs UTF8: create one with `createdb --encoding UTF8 "
        "--template template0 NAME`, and name it in the URL"
    )


def test_what_postgresql_refuses_is_told(postgres_bed: PostgresBed, tmp_path: Path) -> None:
    url, data = postgres_bed.new_database(), tmp_path / "data"
    name = url.partition("@/")[2].partition("?")[0]
    role = f"r{name}"
    postgres_bed.query(f"CREATE ROLE {role} LOGIN PASSWORD 'p4ssw0rd'")
    hba = postgres_bed.folder / "data" / "pg_hba.conf"
    trusted = hba.read_text()
    hba.write_text(f"local all {role} scram-sha-256\n{trusted}")
    postgres_bed.reload()
    as_role = url.replace("tutumd@", f"{role}:p4ssw0rd@")
    try:
        cases = {
            as_role.replace("p4ssw0rd", "p4ssw0rd1"): "it refuses the user or the password",
            url.replace("tutumd@", "nobody@"): "it refuses the user or the password",
            url.replace(f"/{name}", "/none"): "the server has no database of this name",
            url.replace("?host=", "?host=/none"): "it cannot be reached",
            as_role: "its user lacks rights",
        }
        for case, cause in cases.items():
            assert cause in refusal(data, case)
    finally:
        hba.write_text(trusted)
        postgres_bed.reload()
    postgres_bed.become_standby()
    try:
        assert "it is a read-only standby" in refusal(data, url)
    finally:
        postgres_bed.query("SELECT pg_promote()")


def test_a_server_waits_for_the_worker_of_one_that_was_killed(data: Path) -> None:
    with open_storage(read_settings({"data_dir": data}), serves_and_works=True) as storage:
        assert "another tutumd works with the data folder" in refusal(data)
        orphan = subprocess.Popen(["sleep", "1"], pass_fds=[storage.lock])
    refused = ""
    try:
        start(data)
    except SettingsError as error:
        refused = str(error)
    assert refused == ""
    assert orphan.poll() == 0, "two workers used the database"


def modes(folder: Path) -> dict[str, str]:
    return {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in folder.iterdir() if file.is_file()}


def test_only_the_owner_can_read_the_database_and_the_keys(tmp_path: Path) -> None:
    data, former = tmp_path / "data", os.umask(0)
    try:
        with open_storage(read_settings({"data_dir": data}), serves_and_works=True):
            created = modes(data)
    finally:
        os.umask(former)
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert created == dict.fromkeys(
        ("tutumd.db", "tutumd.db-wal", "tutumd.db-shm", "tutumd.lock", "command.lock"), "0o600"
    )


def test_files_that_others_can_read_are_corrected_and_told(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("secret.key", "demo-apikey", "local.lock", "tutumd.db-wal", "tutumd.db-shm"):
        (data / name).touch()
    (data / "notes").touch()
    for file in data.iterdir():
        file.chmod(0o644)
    with open_storage(read_settings({"data_dir": data}), serves_and_works=True):
        corrected = modes(data)
    assert corrected.pop("notes") == "0o644"
    assert set(corrected.values()) == {"0o600"}
    told = re.findall(r"others could read \S+/(\S+): now", caplog.text)
    assert sorted(told) == sorted(corrected)


@pytest.mark.slow
def test_a_file_whose_mode_cannot_be_changed_is_told_and_used() -> None:
    if os.geteuid() != 0:
        lacking("this test needs root for a file of another user: sudo script/test")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # where another user than root may look
        data = Path(name) / "data"
        start(data)
        for path in (Path(name), data, *data.iterdir()):
            os.chown(path, NOBODY, NOBODY)
        os.chown(data / "tutumd.db", 0, 0)
        (data / "tutumd.db").chmod(0o666)
        code = (
            f"import logging, os; from pathlib import Path; from {__name__} import start; logging.basicConfig(); "
            f"start(Path({name!r}) / 'first'); "  # as root, who may import everything
            f"os.setgid({NOBODY}); os.setuid({NOBODY}); start(Path({str(data)!r}))"
        )
        done = finished([sys.executable, "-c", code])
    assert done.returncode == 0, done
    told = r"others can read \S+/tutumd\.db, which cannot be changed: Operation not permitted"
    assert re.search(told, done.stdout + done.stderr), done


WRONG = {
    "TUTUMD_HOST": ("not a host", "*", "::1]", "192.0.2.1", "nowhere.invalid"),
    "TUTUMD_DATABASE": ("mysql://localhost/x", "tutumd.db", "sqlite://x", "sqlite:///:memory:", "postgresql://"),
    "TUTUMD_LISTEN_URL": ("sqlite:///tutumd.db", "db.example.com"),
    "TUTUMD_ENGINE": ("rocket", "docker:nowhere", "local,local"),
    "TUTUMD_ADMIN_USER": ("a b", "a:b", "x" * 101),
    "TUTUMD_ADMIN_APIKEY": ("short", "with a space in the key"),
    "TUTUMD_SECRET_KEY": ("c2hvcnQ=", "no base64", ","),
    "TUTUMD_PUBLIC_URL": ("hooks.example.com",),
    "TUTUMD_METRICS_TOKEN": ("short", "sixteen letters and spaces"),
    "TUTUMD_USER_HEADER": ("X Forwarded User", "Cookie", "authorization", "X-Forwarded-User"),  # no proxy is trusted
    "TUTUMD_OIDC_ISSUER": ("https://issuer.example.com", "gitea=https://issuer.example.com", "github=issuer"),
    "TUTUMD_KUBERNETES_NAMESPACES": ("Not_One", "a b"),
}
"""Texts; what is wrong for a setting of another type is derived from its type and limits."""
UNCHECKED = {"TUTUMD_DATA_DIR", "TUTUMD_WORKER_KEY_FILE"}

PROGRAM = """
    import os, sys
    from tutumd.errors import TutumdError
    from tutumd.main.serve import serve
    for line in sys.stdin.read().splitlines():
        name, _, value = line.partition("=")
        os.environ[name] = value
        try:
            serve({})
        except TutumdError as error:
            print(f"{name}={value}: {error}", flush=True)
        del os.environ[name]
"""


def wrong_values(schema: dict[str, Any]) -> list[object]:
    """Return values that a setting of this type, with these limits, refuses; none for a text."""
    described = schema.get("anyOf", [schema])[0]
    match described:
        case {"type": "boolean"}:
            return ["perhaps"]
        case {"enum": [known, *_]}:
            return ["loud", known.upper()]
        case {"items": {"format": "ipvanynetwork"}}:
            return ["proxy", "10.0.0.1/8"]
        case {"type": "integer" | "number" as kind}:
            beyond = [described["maximum"] + 1] if "maximum" in described else []
            return ["many", "nan", "inf", described["minimum"] - 1, *beyond, *(["1.5"] if kind == "integer" else [])]
    return []


def test_a_setting_of_the_wrong_shape_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    schemas = Settings.model_json_schema()["properties"].items()
    settings = {f"{PREFIX}{name.upper()}": schema for name, schema in schemas if name.islower()}
    wrong = {name: WRONG.get(name) or wrong_values(schema) for name, schema in settings.items()}
    assert {name for name, values in wrong.items() if not values} == UNCHECKED
    lines = [f"{name}={value}" for name, values in wrong.items() for value in values]
    done = finished(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)], input="\n".join(lines), cwd=tmp_path, env=without_settings()
    )
    told = [re.split(r": (?=\S)", line, maxsplit=1)[0] for line in done.stdout.splitlines()]
    assert len(told) == len(lines), done
    assert list(tmp_path.iterdir()) == []
    assert "c2hvcnQ=: " not in done.stderr


def test_a_worker_needs_no_key_for_secrets(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("damaged")
    code = "import sys; from tutumd.main.work import work; work({'data_dir': sys.argv[1]}, lambda *_: sys.exit(7))"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=without_settings(), timeout=60, check=False)
    assert done.returncode == 7, "the worker came to its engines"
