"""`tutumd doctor`: each thing that is broken is found, with what to do, and nothing is changed."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.databases import small_disk
from tests.support.hanging_host import HangingHost
from tests.support.https_site import make_certificate, site
from tests.support.programs import finished, without_settings
from tests.support.server import BIN, LIMIT_S, LiveServer, free_port
from tests.support.waiting import wait_until
from tutumd.application.admission.encryption import make_key
from tutumd.store.upkeep.checkup import check

Findings = list[dict[str, str]]
VERIFY = {"preset": "token", "header": "X-Hook", "secrets": ["the-token-of-a-sender"]}
AS_NOBODY = """
import os, sys
from tutumd.main.doctor import check_database, check_folder
from tutumd.settings import read_settings
os.setgid(65534); os.setuid(65534)
settings = read_settings({"data_dir": sys.argv[1]})
print(*check_folder(settings), *check_database(settings, []), sep="\\n")
"""
ROOT = "runs commands as root"


def doctor(
    data: Path, *options: str, engine: str = "local", within: Sequence[str] = (), **variables: str
) -> tuple[int, Findings]:
    """Run it, and return its exit code and what it found, but the warning that this is root.

    Args:
        within: A command that runs it.
    """
    clean = without_settings()
    command = [*within, str(BIN / "tutumd"), "doctor", "--json", "--data-dir", str(data), "--engine", engine, *options]
    done = subprocess.run(command, capture_output=True, env=clean | variables, timeout=LIMIT_S, check=False)
    assert not done.stderr, done.stderr
    found = [each for each in json.loads(done.stdout)["findings"] if ROOT not in each["text"]]
    assert all(each["mend"] for each in found if each["level"] != "ok"), found
    return done.returncode, found


def broken(data: Path, *options: str, engine: str = "local", **variables: str) -> Findings:
    """Return what is wrong."""
    code, found = doctor(data, *options, engine=engine, **variables)
    wrong = [each for each in found if each["level"] == "wrong"]
    assert (code == 1) == bool(wrong), found
    return wrong


def texts(found: Findings) -> list[str]:
    return [f"{each['subject']}: {each['text']}" for each in found]


def dump(path: Path) -> list[str]:
    """Return the rows of a database except those that a worker writes by itself."""
    by_workers = re.compile('engines|discoveries|worker_slots|INTO "services"')
    with closing(sqlite3.connect(path)) as database:
        return [line for line in database.iterdump() if not by_workers.search(line)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder of a server that stopped an hour ago, with a secret and a call."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "copy").mkdir(mode=0o700)
    with LiveServer(folder, "--engine", "local") as server:
        call_with_secret(server)
        with closing(sqlite3.connect(server.data / "tutumd.db")) as original:
            original.execute("VACUUM INTO ?", [str(folder / "copy" / "tutumd.db")])
        shutil.copy(server.data / "secret.key", folder / "copy")
    execute("UPDATE engines SET seen = seen - 3600 * 1000000")(folder / "copy" / "tutumd.db")
    return folder / "copy"


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    """A copy of `made`."""
    return Path(shutil.copytree(made, tmp_path / "data"))


def call_with_secret(server: LiveServer) -> None:
    service = server.create_service("web")["uuid"]
    handler = server.make_handler(service, verify=VERIFY, debounce=3600)
    assert server.post(f"{handler['resource_uri']}call/", X_Hook="the-token-of-a-sender").status == 202


def test_a_server_that_works_is_found_to_work(database_url: str, tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--engine", "local", "--database", database_url) as server:
        call_with_secret(server)
        wait_until(lambda: server.request("GET", "/readyz").json["status"] == "ready", "the server is ready")
        key = (server.data / "secret.key").read_text().strip()
        options = ("--database", database_url, "--public-url", server.url)
        path = tmp_path / "test.db"
        if path.exists():
            wait_until(lambda: re.search('INSERT INTO "handler_logs"', str(dump(path))), "the call is counted")
        before = dump(path) if path.exists() else []
        code, found = doctor(server.data, *options, TUTUMD_SECRET_KEY=key)
        assert code == 0, found
        assert [each["text"] for each in found if each["level"] != "ok"] == [
            f"{server.url} is an address of this machine: no sender elsewhere can use it"
        ]
        told = " ".join(texts(found))
        assert "the key fits the secrets" in told and f"{server.url} leads to a tutumd" in told
        assert (
            "worker: the worker of the engine local reported" in told and "its schema is that of this version" in told
        )
        assert before == (dump(path) if before else [])
        human = finished([str(BIN / "tutumd"), "doctor", "--data-dir", str(server.data), *options[:2]])  # fmt: skip
        assert human.stdout.splitlines()[0].startswith("ok ") and human.stdout.endswith(" ok\n")
        assert "\033" not in human.stdout


@pytest.mark.slow
def test_a_wrong_or_missing_key_is_found(data: Path) -> None:
    (found,) = [each for each in broken(data, TUTUMD_SECRET_KEY=make_key()) if each["subject"] == "key"]
    assert "encrypted with another key" in found["text"]
    (found,) = [each for each in broken(data, TUTUMD_SECRET_KEY="too short") if each["subject"] == "key"]
    assert "must be 32 random bytes" in found["text"] and "too short" not in found["text"]
    (data / "secret.key").unlink()
    (found,) = [each for each in broken(data) if each["subject"] == "key"]
    assert "is missing, and secrets are stored" in found["text"]
    assert not (data / "secret.key").exists()


@pytest.mark.slow
def test_a_server_that_does_not_run_is_found(data: Path) -> None:
    assert any("no worker has served the engine local since" in text for text in texts(broken(data)))


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 : 4096 * 20] = os.urandom(4096 * 19)
    path.write_bytes(content)


def execute(statement: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as database:
            database.executescript(statement)

    return change


def replace_by_text(path: Path) -> None:
    path.write_text("no database" * 100)


def half_restore(path: Path) -> None:
    path.with_name("tutumd.db.restoring").touch()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "text"),
    [
        (damage, "is damaged"),
        (replace_by_text, "cannot be used: it is damaged, or no SQLite database"),
        (execute("UPDATE alembic_version SET version_num = '9999'"), "has the schema 9999, and this tutumd"),
        (execute("UPDATE alembic_version SET version_num = '0001'"), "was made by an unreleased version of tutumd"),
        (half_restore, "is half restored, and no server starts"),
    ],
)
def test_a_database_that_no_server_can_use_is_found(data: Path, change: Callable[[Path], None], text: str) -> None:
    change(data / "tutumd.db")
    found = broken(data)
    assert found[0]["subject"] == "database" and text in found[0]["text"], found


def test_a_database_of_another_application_is_found(tmp_path: Path) -> None:
    execute("CREATE TABLE wp_posts (id INTEGER)")(tmp_path / "tutumd.db")
    assert texts(broken(tmp_path)) == ["database: it belongs to another application, with a table 'wp_posts'"]


@pytest.mark.slow
def test_a_lock_that_keeps_the_server_from_writing_is_found(data: Path) -> None:
    with closing(sqlite3.connect(data / "tutumd.db", isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("BEGIN IMMEDIATE")
        found = broken(data)
    assert "another process holds its lock" in found[0]["text"]


def test_a_data_folder_of_another_user_is_found(data: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("this needs root, to be another user")
    os.chown(data, 10001, 10001)
    for folder in data.parents[:-2]:
        folder.chmod(folder.stat().st_mode | 0o011)
    done = subprocess.run([sys.executable, "-c", AS_NOBODY, str(data)], capture_output=True, text=True, check=True)
    assert f"user 65534 cannot write {data}: Permission denied" in done.stdout
    assert "as the owner of the folder, user 10001" in done.stdout
    assert f"there is no database {data}/tutumd.db that this user can see" in done.stdout


def test_a_full_disk_is_found(tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk:
        disk.fill()
        found = texts(broken(disk.data))
    assert any(re.search("data folder: user .* cannot write .*: No space left on device", text) for text in found), (
        found
    )


def test_a_database_is_read_without_its_write_lock(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def write(connection: object) -> None:
        execute("PRAGMA busy_timeout = 0; UPDATE users SET created = created")(data / "tutumd.db")
        written.append(connection)

    monkeypatch.setattr("tutumd.store.upkeep.checkup.read_installation", write)
    check(f"sqlite:///{data}/tutumd.db")
    assert written


def test_a_check_that_fails_is_a_finding_and_the_others_go_on(data: Path) -> None:
    execute("UPDATE deliveries SET content = '[]'")(data / "tutumd.db")
    code, found = doctor(data)
    failed = [each["subject"] for each in found if each["text"].startswith("the check failed: ")]
    assert code == 1 and failed == ["database"] and found[-1]["subject"] == "key", found


@pytest.mark.slow
def test_a_database_server_that_is_away_or_hangs_is_found_without_its_password(tmp_path: Path) -> None:
    url = f"postgresql://tutumd:hidden-word@127.0.0.1:{free_port()}/tutumd"
    (found,) = broken(tmp_path, TUTUMD_DATABASE=url)
    assert found["subject"] == "database" and "refused" in found["text"] and "hidden-word" not in json.dumps(found)
    host = HangingHost()
    try:
        began = time.monotonic()
        (found,) = broken(tmp_path, "--database", f"postgresql://tutumd@127.0.0.1:{host.port}/tutumd")
        assert found["subject"] == "database"
        engine = f"docker:tcp://127.0.0.1:{host.port}"
        (found,) = broken(tmp_path, engine=engine)
        assert found["subject"] == "engine docker" and "No response in time" in found["text"]
        assert time.monotonic() - began < 150, "two runs, each within half a minute where nothing else runs"
    finally:
        host.close()


@pytest.mark.slow
def test_a_setting_that_is_wrong_or_unknown_is_found(tmp_path: Path) -> None:
    assert texts(broken(tmp_path, TUTUMD_PORT="eighty"))[0].startswith("settings: TUTUMD_PORT: must be a valid integer")
    (port, grace) = broken(tmp_path, TUTUMD_PORT="eighty", TUTUMD_GRACE="-1")
    assert "TUTUMD_PORT" in port["text"] and "TUTUMD_GRACE" in grace["text"]
    _, found = doctor(tmp_path, engine="podmann")
    assert "--engine must be auto" in found[0]["text"]
    assert {"data folder", "database", "key"} <= {each["subject"] for each in found}, "the rest is looked at"
    _, found = doctor(tmp_path, TUTUMD_ADMIN_APIKEYS="hidden-word")
    (unknown,) = [each for each in found if "TUTUMD_ADMIN_APIKEYS" in each["text"]]
    assert unknown["level"] == "warning" and "did you mean TUTUMD_ADMIN_APIKEY?" in unknown["text"]
    assert "hidden-word" not in json.dumps(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "url",
    [
        "mysql://root:hidden-word@db/x",
        *(
            pytest.param(url, marks=pytest.mark.nightly)
            for url in ("hidden-word", "sqlite:///", "postgresql://u:hidden-word@[::1/x")
        ),
    ],
)
def test_a_database_url_that_is_none_is_a_wrong_setting(tmp_path: Path, url: str) -> None:
    (found,) = broken(tmp_path, TUTUMD_DATABASE=url)
    assert "must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME" in found["text"]
    assert "fault of tutumd" not in found["mend"] and "hidden-word" not in json.dumps(found)


def test_lines_fit_a_terminal(data: Path) -> None:
    options = ["--data-dir", str(data), "--engine", "docker", "--public-url", "https://hooks.invalid"]
    missing = {"DOCKER_HOST": f"unix://{data}/none.sock", "COLUMNS": "80"}
    done = finished([str(BIN / "tutumd"), "doctor", *options], env=os.environ | missing)  # fmt: skip
    lines = done.stdout.splitlines()
    assert [line for line in lines if len(line) > 80 and " " in line[26:]] == []
    assert re.search(r"no worker has served the engine local since .*\n {24}\S", done.stdout)
    assert "\n                        → Start the engine, mount its socket" in done.stdout


def test_callers_that_all_look_the_same_are_found(data: Path) -> None:
    columns = "handler_seq, amount, received, address, user_agent, body_size, outcome, content"
    many = f"INSERT INTO deliveries ({columns}) SELECT {columns} FROM deliveries LIMIT 1;" * 6
    execute(f"UPDATE deliveries SET address = '172.18.0.3'; {many}")(data / "tutumd.db")
    url = f"https://127.0.0.1:{free_port()}"
    _, found = doctor(data, "--public-url", url)
    (same,) = [each for each in found if each["subject"] == "calls"]
    assert same["level"] == "warning" and "came from 172.18.0.3, a private address" in same["text"]
    assert "TUTUMD_TRUSTED_PROXIES=172.18.0.3" in same["mend"] and "docs/how-to/proxy.md" in same["mend"]


@pytest.mark.slow
@pytest.mark.parametrize("address", ["172.18.0.1", "2001:db8::7"])
def test_a_proxy_that_names_its_clients_is_not_accused(data: Path, address: str) -> None:
    """Also if the client is on the proxy's machine, or in a network of trusted proxies."""
    hop = f"::ffff:{address}" if "." in address else address
    content = json.dumps({"headers": [["host", "hooks.example"], ["x-forwarded-for", f"198.51.100.1, {hop}"]]})
    columns = "handler_seq, amount, received, user_agent, body_size, outcome"
    execute(
        f"UPDATE deliveries SET address = '{address}', content = '{content}';"
        + f"INSERT INTO deliveries ({columns}, address) SELECT {columns}, '127.0.0.1' FROM deliveries LIMIT 1;"
        + "".join(
            f"INSERT INTO deliveries ({columns}, address, content) SELECT {columns}, address, content FROM deliveries"
            " LIMIT 1;"
            for _ in range(6)
        )
        + f"INSERT INTO deliveries ({columns}, address, content)"
        f""" SELECT {columns}, '127.0.0.1', '{{"headers": []}}' FROM deliveries LIMIT 1;"""
    )(data / "tutumd.db")
    trusted = ("--trusted-proxies", "127.0.0.1", "--trusted-proxies", "172.16.0.0/12")
    _, found = doctor(data, *trusted, "--public-url", f"https://127.0.0.1:{free_port()}")
    (calls,) = [each for each in found if each["subject"] == "calls"]
    assert calls["level"] == "ok", calls


@pytest.mark.slow
@pytest.mark.parametrize(
    ("days", "url", "level", "text"),
    [
        (None, "http://127.0.0.1:{port}/proxy", "wrong", "answers 502: the proxy does not reach tutumd"),
        (-1, "https://localhost:{port}", "wrong", "cannot be reached: certificate has expired"),
        (90, "https://localhost:{port}", "ok", "leads to a tutumd"),
        *(
            pytest.param(*case, marks=pytest.mark.nightly)
            for case in (
                (None, "http://127.0.0.1:{port}/gone", "wrong", "/gone/healthz answers 404, and not as tutumd does"),
                (None, "http://127.0.0.1:{port}/moved", "wrong", "redirects"),
                (None, "https://127.0.0.1:{port}", "wrong", "let the proxy speak TLS there"),
                (None, "https://hooks.invalid", "wrong", "make a DNS record for the host name"),
                (None, "https://localhost:{free}", "warning", "cannot be tried from here: Connection refused"),
                (90, "https://127.0.0.1:{port}", "wrong", "cannot be reached: IP address mismatch"),
                (5, "https://localhost:{port}", "warning", "its certificate ends in 5 days"),
            )
        ),
    ],
)
def test_a_public_url_is_tried(data: Path, tmp_path: Path, days: int | None, url: str, level: str, text: str) -> None:
    """`days`: those of the certificate of the site that listens, if it has one."""
    certificate = tmp_path / "certificate" if days else None
    trusted = make_certificate(certificate, days) if certificate and days else {}
    with site(certificate) as port:
        _, found = doctor(data, "--public-url", url.format(port=port, free=free_port()), **trusted)
    told = [each for each in found if each["subject"] == "public URL" and text in each["text"] + each["mend"]]
    assert [each["level"] for each in told] == [level], found


def test_a_public_url_is_not_judged_where_no_network_leads_to_it(data: Path) -> None:
    without_network = ["unshare", "--net"]
    if subprocess.run([*without_network, "true"], capture_output=True, timeout=LIMIT_S, check=False).returncode:
        pytest.skip("this user cannot make a network namespace")
    _, found = doctor(data, "--public-url", "https://192.0.2.1", within=without_network)
    (told,) = [each for each in found if each["subject"] == "public URL"]
    assert told["level"] == "warning" and "cannot be tried from here: Network is unreachable" in told["text"]
