"""An upgrade with a migration under calls: rolling on PostgreSQL behind nginx, stop and start on SQLite."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.processes import TUTUMD, Program
from tests.support import next_release, nginx_bed
from tests.support.api import Api
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.postgres_bed import PostgresBed
from tests.support.programs import without_settings
from tests.support.server import APIKEY, USER, LiveServer, free_port, request
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

CALLS_PER_S = 200
CALLERS = 24
CALL_TIMEOUT_S = 60  # of nginx, in place of 5 s: a busy machine is no replica that is gone
IMAGE = f"{ANONYMOUS}/app"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call: what was answered, after how long, and how often it was sent. Status 0: no answer."""

    status: int
    action: str
    took_s: float
    tries: int


class Callers:
    """Threads that call URLs in turn, so many times a second in all, until they are stopped.

    Args:
        port: Of the server, or of nginx.
        tries: How often a call is sent until it is accepted, with a key of its own.
    """

    def __init__(self, port: int, urls: list[str], calls_per_s: float, tries: int = 1) -> None:
        self.calls: list[Call] = []
        self._port, self._urls, self._tries = port, urls, tries
        self._pause_s = CALLERS / calls_per_s
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(CALLERS)]

    def start(self) -> None:
        self.began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self) -> list[Call]:
        """End, after the pending answers, and return all calls."""
        self._stop.set()
        for thread in self._threads:
            thread.join(3 * CALL_TIMEOUT_S)
            assert not thread.is_alive()
        self.rate = len(self.calls) / (time.monotonic() - self.began)
        return self.calls

    def has(self, more: int) -> bool:
        """Return whether so many calls were answered."""
        return len(self.calls) >= more

    def _run(self, number: int) -> None:
        count = 0
        # Late calls are made up for: the pause of a server must not become a pause of the callers.
        while not self._stop.wait(max(0.0, self.began + (count + number / CALLERS) * self._pause_s - time.monotonic())):
            self.calls.append(self._call(self._urls[count % len(self._urls)], f"{number}-{count}"))
            count += 1

    def _call(self, url: str, key: str) -> Call:
        began, headers = time.monotonic(), {"Idempotency-Key": key} if self._tries > 1 else {}
        for tries in range(1, self._tries + 1):
            status, action = 0, ""
            try:
                answer = request(self._port, "POST", url, headers=headers, limit_s=3 * CALL_TIMEOUT_S)
                status = answer.status
                action = answer.json["action"] if status in (200, 202) else answer.body.decode()
            except (OSError, http.client.HTTPException) as error:
                action = repr(error)
            if status in (200, 202):
                break
            if tries < self._tries:
                time.sleep(0.5)
        return Call(status=status, action=action, took_s=time.monotonic() - began, tries=tries)


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The command `tutumd` of the next release."""
    source = next_release.write_source(tmp_path_factory.mktemp("next-release") / "src")
    return ("env", f"PYTHONPATH={source}", *TUTUMD)


class Installation:
    """Two web replicas, two workers and nginx. Each part can be replaced by the new version."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder, self._environment = folder, environment
        self.port, *self._webs = free_port(), free_port(), free_port()
        self.api = Api(folder, self.port)
        self.parts: dict[str, Program] = {}
        self._start("nginx", (), nginx_bed.command(folder, self.port, self._webs, None, CALL_TIMEOUT_S))
        for name in ("web1", "web2", "worker1", "worker2"):
            self.start(name, TUTUMD)

    def start(self, name: str, tutumd: tuple[str, ...]) -> None:
        """Start a part with a version, and wait until it is ready."""
        if name.startswith("web"):
            port = self._webs[int(name[-1]) - 1]
            self._start(name, tutumd, ["web", "--port", str(port)], port)
            wait_until(lambda: is_ready(port), f"{name} is ready: {self.parts[name].tail()}", timeout_s=120)
        else:
            self._start(name, tutumd, ["worker", "--engine", "docker"])
            log = self._folder / f"{name}.log"
            wait_until(lambda: "worker is ready" in log.read_text(), f"{name} is ready", timeout_s=120)

    def replace(self, name: str, tutumd: tuple[str, ...]) -> None:
        """Stop a part as a service manager does, and start it with another version."""
        assert self.parts.pop(name).stop() in (0, -15)
        (self._folder / f"{name}.log").unlink()
        self.start(name, tutumd)

    def stop(self) -> None:
        for part in self.parts.values():
            part.stop()

    def _start(self, name: str, tutumd: tuple[str, ...], command: list[str], port: int = 0) -> None:
        self.parts[name] = Program(name, [*tutumd, *command], self._folder, self._environment, port)
        self.parts[name].start()


def is_ready(port: int) -> bool:
    try:
        return request(port, "GET", "/readyz", headers={}).status == 200
    except OSError:
        return False


@contextmanager
def installed(folder: Path, bed: DockerBed, database_url: str) -> Iterator[Installation]:
    environment = without_settings(bed.environment) | {
        "TUTUMD_DATABASE": database_url,
        "TUTUMD_ADMIN_USER": USER,
        "TUTUMD_ADMIN_APIKEY": APIKEY,
        "TUTUMD_TRUSTED_PROXIES": "127.0.0.1",
    }
    with ExitStack() as stack:
        made = Installation(folder, environment)
        stack.callback(made.stop)
        yield made


def summary(what: str, calls: list[Call], rate: float) -> str:
    longest = max(call.took_s for call in calls)
    lost = sum(call.status not in (200, 202) for call in calls)
    return f"{what}: {len(calls)} calls, {rate:.0f}/s, {lost} lost, longest answer {longest:.2f} s"


@pytest.mark.nginx
@pytest.mark.timeout(1800)
def test_a_rolling_upgrade_on_postgresql_loses_no_call(
    clean_bed: DockerBed, postgres_bed: PostgresBed, newer: tuple[str, ...], tmp_path: Path
) -> None:
    clean_bed.push("app", "v1")
    for service in ("api", "jobs"):
        clean_bed.docker("run", "-d", "--name", service, "--label", f"tutum.service={service}", IMAGE)
    with installed(tmp_path, clean_bed, postgres_bed.new_database()) as made:
        api, jobs = (made.api.find(name, state="Running")["uuid"] for name in ("api", "jobs"))
        urls = urls_of(made.api, api, jobs)
        callers = Callers(made.port, urls, CALLS_PER_S)
        callers.start()
        wait_until(lambda: callers.has(CALLS_PER_S * 2), "this release takes calls", timeout_s=120)
        for part in ("web1", "web2", "worker1", "worker2"):
            made.replace(part, newer)
        done = len(callers.calls)
        wait_until(lambda: callers.has(done + CALLS_PER_S * 2), "the next one takes calls", timeout_s=120)
        calls = callers.stop()
        print(summary("rolling upgrade", calls, callers.rate))
        assert [call for call in calls if call.status != 202] == []
        assert max(call.took_s for call in calls) < CALL_TIMEOUT_S, "none waited for a replica that was gone"
        check_performed(made.api, calls)
        assert made.api.service(jobs)["running_num_containers"] == 3


def test_stop_and_start_on_sqlite_loses_no_call_of_those_that_retry(newer: tuple[str, ...], tmp_path: Path) -> None:
    server = LiveServer(tmp_path, "--engine", "local")
    server.start()
    uuid = server.run_service("jobs")
    callers = Callers(server.port, urls_of(server, uuid, uuid), calls_per_s=40, tries=600)
    callers.start()
    wait_until(lambda: callers.has(100), "this release takes calls", timeout_s=120)
    assert server.stop() == 0
    with LiveServer(tmp_path, "--engine", "local", port=server.port, command=newer) as new:
        done = len(callers.calls)
        wait_until(lambda: callers.has(done + 100), "the next one takes calls", timeout_s=120)
        calls = callers.stop()
        print(summary("stop and start", calls, callers.rate))
        assert [call for call in calls if call.status not in (200, 202)] == []
        assert max(call.tries for call in calls) > 1
        check_performed(new, calls)
        assert new.service(uuid)["running_num_containers"] == 3


def urls_of(api: Api, redeployed: str, scaled: str) -> list[str]:
    """Create a handler that redeploys a service, and one that adds containers to another; return their URLs."""
    more = api.make_handler(scaled, operation="SCALEUP", max_containers=3)
    return [api.make_handler(redeployed, operation="REDEPLOY")["url"], more["url"]]


def check_performed(api: Api, calls: list[Call]) -> None:
    """Check that the actions did what the calls asked for: the ones beyond the cap say so."""
    actions = [api.wait_for_action(path) for path in sorted({call.action for call in calls})]
    failed = {action["reason"] for action in actions if action["state"] != "Success"}
    assert {reason.partition(":")[0] for reason in failed} <= {"nothing was added"}, failed
    assert sum(action["deliveries"] for action in actions) == len(calls)
