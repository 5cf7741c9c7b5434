"""A database of d238f91 with half-done actions is opened by today's server, which finishes them.

`recorded/database_of_d238f91.json` says how it was recorded. The test looks at the server's API, at the Docker Engine
and at processes, so it needs almost no code of tutumd.
"""

import hmac
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import docker
import psutil
import pytest
import sqlalchemy as sa

from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.server import BIN, LiveServer
from tests.support.waiting import wait_until
from tutumd.store.database import Database
from tutumd.store.upgrade import run_migrations

pytestmark = pytest.mark.slow

APP = f"{ANONYMOUS}/app"
RECORDED: Mapping[str, Any] = json.loads((Path(__file__).parent / "recorded" / "database_of_d238f91.json").read_text())
TABLES = RECORDED["tables"]
OLD_KEY = "apikey"
"""Of six characters: it goes on working, although new keys have at least 20."""
# As the new server sees it, the old one was killed so long ago: its leases have ended.
AGE_S = 60

Names = Mapping[str, object]
"""What the names in <> are on this machine."""


def test_half_done_actions_are_finished(database_url: str, clean_bed: DockerBed, tmp_path: Path) -> None:
    shift_s = seconds_since_recording()
    with local_processes() as processes:
        names = processes | make_containers(clean_bed)
        names |= order_updates(clean_bed, names)
        fill(database_url, names, shift_s)
        engines = ("--engine", "docker", "--engine", "swarm", "--engine", "local")
        environment = clean_bed.environment | {"TUTUMD_SECRET_KEY": RECORDED["secret_key"]}
        server = LiveServer(tmp_path, *engines, "--database", database_url, environment=environment, apikey=OLD_KEY)
        for uuid, record in RECORDED["local"].items():
            folder = server.data / "local" / uuid
            for directory in (folder / "output", folder / "work"):
                directory.mkdir(parents=True)
            (folder / "service.json").write_text(json.dumps(filled_in(record, names, shift_s)))
        server.start()
        try:
            for row in TABLES["actions"]:
                action = server.wait_for_action(f"/api/v1/action/{row['uuid']}/")
                assert action["state"] == "Success", action
            assert server.request("GET", "/api/v1/action/").json["meta"]["total_count"] == len(TABLES["actions"])
            check_containers(clean_bed, names)
            check_swarm(clean_bed, names)
            check_processes(processes)
        finally:
            server.stop()


def test_handlers_deliveries_and_accounts_read_as_before(database_url: str, tmp_path: Path) -> None:
    shift_s = seconds_since_recording()
    fill(database_url, {}, shift_s)
    # None of the recorded services is on this engine, so no action continues.
    options = ("--engine", f"other=docker:unix://{tmp_path}/none.sock", "--database", database_url)
    server = LiveServer(tmp_path, *options, environment={"TUTUMD_SECRET_KEY": RECORDED["secret_key"]}, apikey=OLD_KEY)
    server.start()
    try:
        for path, recorded in RECORDED["answers"].items():
            answer = as_of_today(filled_in(recorded, {}, shift_s))
            for entry in answer.get("objects", ()):
                if entry.get("state") == "Pending":
                    entry["reason"] = ANY  # that no worker serves its engine
            assert known_fields(server.request("GET", path).json, answer) == answer, path
        member = server.request("GET", "/api/v1/auth/", authorization=f"ApiKey mia:{RECORDED['member_key']}")
        assert member.status == 200
        # The sender still signs with one of the stored secrets.
        assert call(server, "full", secret="second secret") == (200, "Skipped")
        assert [call(server, "full", secret="another secret")[0], call(server, "capped")[0]] == [401, 404]
        assert [call(server, "main only"), call(server, "rotated")[0]] == [(200, "Skipped"), 202]
    finally:
        server.stop()
    assert listed("user", database_url) == [["username", "admin"], ["mia", "member"]]
    assert listed("apikey", database_url) == [["#6c793695", "username"], [RECORDED["member_key"][:12], "mia"]]


def as_of_today(value: Any) -> Any:
    """Return a recorded answer in the form of today: ISO 8601 dates, counts of containers, null for no action."""
    if isinstance(value, list):
        return [as_of_today(each) for each in value]
    if not isinstance(value, dict):
        return value
    today: dict[str, Any] = {}
    for name, each in value.items():
        if name in ("containers_before", "containers_after"):
            today |= {name: len(each), name.replace("containers", "container_uris"): each}
        elif name == "action" and each == "":
            today[name] = None
        elif each and (name == "old_until" or (name.endswith("_datetime") and name != "deployed_datetime")):
            today[name] = f"{parsedate_to_datetime(each):%Y-%m-%dT%H:%M:%SZ}"
        else:
            today[name] = as_of_today(each)
    return today


def known_fields(value: Any, recorded: Any) -> Any:
    """Return a value of JSON without the fields that objects did not have when it was recorded."""
    if isinstance(value, list) and isinstance(recorded, list):
        return [known_fields(one, known) for one, known in zip(value, recorded, strict=True)]
    if isinstance(value, dict) and isinstance(recorded, dict):
        return {name: known_fields(value.get(name), known) for name, known in recorded.items()}
    return value


def call(server: LiveServer, name: str, *, secret: str = "") -> tuple[int, str]:
    """Call a recorded handler, by its former URL if it was rotated. Returns status and state."""
    (row,) = [row for row in TABLES["handlers"] if row["name"] == name]
    path = f"/api/v1/service/{row['service_uuid']}/webhook/handler/{row['old_uuid'] or row['uuid']}/call/"
    body = b'{"ref": "refs/heads/other", "after": "0123"}'
    signature = hmac.digest(secret.encode(), body, "sha256").hex()
    head = f"POST {path} HTTP/1.1\r\nHost: tutumd\r\nConnection: close\r\nX-Hub-Signature-256: sha256={signature}\r\n"
    answer = server.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return answer.status, answer.json.get("state", "")


def listed(kind: str, database_url: str) -> list[list[str]]:
    """Return what `tutumd user list` or `tutumd apikey list` prints, without the dates."""
    command = [str(BIN / "tutumd"), kind, "list", "--database", database_url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split("\t")[:2] for line in done.stdout.splitlines()]


# The database


def seconds_since_recording() -> int:
    return int(time.time() - AGE_S - RECORDED["killed_at"] / 1e6)


def fill(database_url: str, names: Names, shift_s: int) -> None:
    """Make the schema of d238f91, and insert the recorded rows."""
    database = Database(database_url)
    with database.write() as connection:
        run_migrations(connection, TABLES["alembic_version"][0]["version_num"])
        metadata = sa.MetaData()
        metadata.reflect(connection)
        assert metadata.tables.keys() == TABLES.keys()
        for table in metadata.sorted_tables:
            rows = filled_in(TABLES[table.name], names, shift_s)
            for row in rows if table.name != "alembic_version" else ():
                nulls = {column: sa.null() for column, value in row.items() if value is None}
                connection.execute(table.insert().values({**row, **nulls}))
            if connection.dialect.name == "postgresql" and "seq" in table.columns and rows:
                serial = f"pg_get_serial_sequence('{table.name}', 'seq')"
                connection.execute(sa.text(f"SELECT setval({serial}, {max(row['seq'] for row in rows)})"))
    database.close()


def filled_in(value: Any, names: Names, shift_s: int) -> Any:
    """Replace the names in <> by what they are on this machine, and move the times of the recording."""
    if isinstance(value, Mapping):
        return {filled_in(key, names, shift_s): filled_in(entry, names, shift_s) for key, entry in value.items()}
    if isinstance(value, list):
        return [filled_in(entry, names, shift_s) for entry in value]
    if isinstance(value, int) and value > 10**15:
        return value + shift_s * 10**6
    if not isinstance(value, str):
        return value
    if value in names:
        return names[value]
    if re.fullmatch(r"\w{3}, \d\d \w{3} 202\d [\d:]{8} \+0000", value):
        return format_datetime(parsedate_to_datetime(value) + timedelta(seconds=shift_s))
    return re.sub("<[a-z0-9 -]+>", lambda match: str(names.get(match[0], match[0])), value)


# Docker


def make_containers(bed: DockerBed) -> dict[str, object]:
    """Make containers and Swarm services as they were before the updates that the old server had ordered."""
    names: dict[str, object] = {"<registry>": ANONYMOUS, "<digest v1>": bed.push("app", "v1")}
    # Of a name that the update of `web` does not move: a container of another image is not added.
    batch = ["run", "-d", "--restart", "unless-stopped"]
    names["<batch 1>"] = bed.docker(*batch, "--name", "batch", "app:v1")
    names["<batch 2>"] = bed.docker(*batch, "--name", "batch-2", "--label", "tutum.service=batch", "app:v1")
    web = ["--restart", "always", "-p", "8080:8080"]
    names["<web old>"] = bed.docker("run", "-d", "--name", "web", *web, "-v", "/anonymous", APP)
    bed.docker("exec", "web", "sh", "-c", "echo kept > /anonymous/x")
    monitors = ["--update-monitor", "1s", "--rollback-monitor", "1s"]
    for name in ("site", "queue"):
        bed.docker("service", "create", "--name", name, "--endpoint-mode", "dnsrr", *monitors, APP)
    names["<digest v2>"] = bed.push("app", "v2")
    bed.docker("pull", APP)
    volume = container(bed, "web")["Mounts"][0]["Name"]
    names["<web new>"] = bed.docker(
        "create", "--name", "web-tutum-next-b4930a6b", *web, "-v", f"{volume}:/anonymous", APP
    )
    bed.docker("update", "--restart", "no", "web")
    bed.docker("stop", "web")
    bed.docker("rename", "web", "web-tutum-prev-b4930a6b")
    return names | {f"<image {name}>": bed.inspect("image", f"app:{name}")["Id"] for name in ("v1", "v2")}


def check_containers(bed: DockerBed, names: Names) -> None:
    """Check that `web` is the new container with the old one's data, and that `batch` has two more containers."""
    found = [container(bed, each) for each in bed.docker("ps", "--all", "--quiet").split()]
    lone = {c["Name"].removeprefix("/"): c for c in found if "com.docker.swarm.task" not in c["Config"]["Labels"]}
    assert sorted(lone) == ["batch", "batch-2", "batch-3", "web"]
    assert {c["State"]["Status"] for c in lone.values()} == {"running"}
    kept = {"web": "<web new>", "batch": "<batch 1>", "batch-2": "<batch 2>"}
    assert {name: lone[name]["Id"] for name in kept} == {name: names[kept[name]] for name in kept}
    assert lone["web"]["HostConfig"]["RestartPolicy"]["Name"] == "always"
    assert bed.fetch("127.0.0.1:8080") == "v2"
    assert bed.docker("exec", "web", "cat", "/anonymous/x") == "kept"


def container(bed: DockerBed, name: str) -> dict[str, Any]:
    return dict(bed.inspect("container", name))


# Swarm


def order_updates(bed: DockerBed, names: Names) -> dict[str, object]:
    """Order the recorded updates of the Swarm services. Returns the names of their tasks."""
    (site_old,), (queue_1,) = tasks(bed, "site"), tasks(bed, "queue")
    client: Any = docker.APIClient(base_url=bed.url)  # the stubs leave some calls untyped
    architecture = client.inspect_service("site")["Spec"]["TaskTemplate"]["Placement"]["Platforms"][0]["Architecture"]
    for name, recorded in RECORDED["swarm"].items():
        # The recorded specification has the defaults of the command line client, which would be a change.
        now, ordered = client.inspect_service(name), filled_in(recorded, names, 0)
        spec = {**now["Spec"], "Mode": ordered["Mode"], "UpdateConfig": ordered["UpdateConfig"]}
        template, new_template = spec["TaskTemplate"], ordered["TaskTemplate"]
        template["ContainerSpec"]["Image"] = new_template["ContainerSpec"]["Image"]
        template["ForceUpdate"] = new_template["ForceUpdate"]
        url = f"{client.base_url}/v{client.api_version}/services/{name}/update"
        response = client.post(url, params={"version": now["Version"]["Index"]}, json=spec)
        assert response.status_code == 200, response.text
    client.close()
    wait_until(lambda: len(tasks(bed, "site")) == 2 and len(tasks(bed, "queue")) == 3, "all tasks are made")
    (site_new,), (queue_2, queue_3) = set(tasks(bed, "site")) - {site_old}, set(tasks(bed, "queue")) - {queue_1}
    return {
        "<architecture>": architecture,
        "<site task old>": site_old,
        "<site task new>": site_new,
        "<queue task 1>": queue_1,
        "<queue task 2>": queue_2,
        "<queue task 3>": queue_3,
    }


def check_swarm(bed: DockerBed, names: Names) -> None:
    """Check that each update was ordered once, and that the user's settings are back."""
    site, queue = service(bed, "site")["Spec"], service(bed, "queue")["Spec"]
    assert site["TaskTemplate"]["ContainerSpec"]["Image"] == f"{APP}:latest@{names['<digest v2>']}"
    assert site["TaskTemplate"]["ForceUpdate"] == 1
    assert site["UpdateConfig"] == queue["UpdateConfig"] == RECORDED["swarm"]["queue"]["UpdateConfig"]
    assert [each["Mode"]["Replicated"]["Replicas"] for each in (site, queue)] == [1, 3]
    assert set(tasks(bed, "site", "--filter", "desired-state=running")) == {names["<site task new>"]}
    assert set(tasks(bed, "queue")) == {names[f"<queue task {number}>"] for number in (1, 2, 3)}
    assert bed.docker("service", "ls", "--quiet").count("\n") == 1


def service(bed: DockerBed, name: str) -> dict[str, Any]:
    return dict(bed.inspect("service", name))


def tasks(bed: DockerBed, name: str, *options: str) -> list[str]:
    return bed.docker("service", "ps", "--quiet", "--no-trunc", *options, name).split()


# Local


@contextmanager
def local_processes() -> Iterator[dict[str, object]]:
    """Run the processes that the old server had started. Yields their names."""
    started: list[subprocess.Popen[bytes]] = []
    names: dict[str, object] = {"<boot>": Path("/proc/sys/kernel/random/boot_id").read_text().strip()}
    job, cron = sorted(RECORDED["local"].values(), key=lambda record: str(record["name"]), reverse=True)
    runs = [(job, entry, "exec sleep 1000") for entry in job["leaving"]]
    runs += [(job, entry, job["definition"]["command"]) for entry in job["containers"]]
    # The kill came after cron-2 was started and before that was recorded.
    runs += [(cron, entry, "exec sleep 1001") for entry in (*cron["containers"], cron["change"]["incoming"][0])]
    try:
        for record, entry, command in runs:
            variables = {
                "TUTUM_CONTAINER_ID": entry["id"],
                "TUTUM_CONTAINER_NAME": f"{record['name']}-{entry['number']}",
                "TUTUM_SERVICE_UUID": record["uuid"],
            }
            process = subprocess.Popen(
                ["/bin/sh", "-c", command], env={**os.environ, **variables}, start_new_session=True
            )
            started.append(process)
            names[f"<pid of {entry['id']}>"] = process.pid
            if entry["process"]:
                fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
                names |= dict(zip(entry["process"][:2], (process.pid, int(fields[19])), strict=True))
        yield names
    finally:
        for left in marked_processes().values():
            left.kill()
        for process in started:
            process.wait(60)


def check_processes(names: Names) -> None:
    """Check that the new set of `job` runs, and that `cron` kept two and got two, one of them by the pending action."""
    found = marked_processes()
    by_name = sorted((process.environ()["TUTUM_CONTAINER_NAME"], process.cmdline()) for process in found.values())
    job = [(f"job-{number}", ["sleep", "2000"]) for number in (1, 2)]
    cron = [(f"cron-{number}", ["sleep", "1001"]) for number in (1, 2, 3, 4)]
    assert by_name == cron + job
    job_names = [f"<job-{number} new pid>" for number in (1, 2)]
    assert {names[name] for name in (*job_names, "<cron-1 pid>")} < found.keys()
    (cron_record,) = [record for record in RECORDED["local"].values() if record["name"] == "cron"]
    assert names[f"<pid of {cron_record['change']['incoming'][0]['id']}>"] in found


def marked_processes() -> dict[int, psutil.Process]:
    """Return the live processes of the recorded services, by PID."""
    found = {}
    for process in psutil.process_iter():
        try:
            is_ours = process.environ().get("TUTUM_SERVICE_UUID") in RECORDED["local"]
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = process
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
