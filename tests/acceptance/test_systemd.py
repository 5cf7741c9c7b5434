"""The quickstart for Linux, followed on a real systemd: the unit, its limits, a restart, an upgrade and the end."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import guards
from tests.support.server import free_port, request
from tests.support.systemd_bed import ROOT, SystemdBed
from tests.support.waiting import wait_until

UNIT = ROOT / "deploy" / "systemd" / "tutumd.service"
PAGE = ROOT / "docs" / "quickstart" / "linux.md"
MAX_EXPOSURE = 16
"""Tenths of systemd's scale from 0 to 10."""

# What the bed has already, and what belongs to other programs.
_DONE = re.compile(r"git |python3 -m venv|\S+/pip ")


def steps(heading: str) -> list[str]:
    """Return the shell blocks below a heading of the page, without the lines that the bed makes needless."""
    section = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (text,) = (part for part in section if part.startswith(heading))
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return ["".join(line for line in block.splitlines(True) if not _DONE.match(line)) for block in blocks]


class Machine:
    """A bed on which the page was followed as far as the first start."""

    def __init__(self, bed: SystemdBed) -> None:
        self.bed, self.port = bed, free_port()
        self.follow("1. Install")
        install, start = "TUTUMD_PUBLIC_URL", f"TUTUMD_PORT={self.port}\nTUTUMD_ENGINE=local\nTUTUMD_PUBLIC_URL"
        for step in steps("2. Start"):
            assert install in step
            bed.run("sh", "-ec", step.replace(install, start))
        settings = (bed.folder / "etc/tutumd/tutumd.env").read_text()
        self.key = settings.split("TUTUMD_ADMIN_APIKEY=")[1].strip()
        wait_until(self.is_ready, f"the server is ready; {bed.folder}/var/log/tutumd.log", timeout_s=120)

    def follow(self, heading: str) -> None:
        for step in steps(heading):
            self.bed.run("sh", "-ec", step)

    def is_ready(self) -> bool:
        try:
            return request(self.port, "GET", "/readyz", headers={}).status == 200
        except OSError:
            return False

    def tutum(self, *arguments: str) -> str:
        where = (f"TUTUM_BASE_URL=http://127.0.0.1:{self.port}/api/v1/", "TUTUM_USER=admin", f"TUTUM_APIKEY={self.key}")
        return self.bed.run("env", "HOME=/run", *where, "/opt/tutumd/bin/tutum", *arguments)

    def pids(self, command: str) -> list[str]:
        return self.bed.run("pgrep", "--full", "--exact", command, check=False).split()


@pytest.fixture
def machine() -> Iterator[Machine]:
    with SystemdBed() as bed:
        bed.run("groupadd", "--force", "docker")
        yield Machine(bed)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit as installed, with a program that exists."""
    guards.require_part("systemd")
    text = UNIT.read_text(encoding="utf-8")
    assert text.count("/opt/tutumd/bin/tutumd ") == 1
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace("/opt/tutumd/bin/tutumd ", "/bin/true "))
    return unit


def test_systemd_finds_no_fault_in_the_unit(unit: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_allows_little(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={MAX_EXPOSURE}", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert f"{MAX_EXPOSURE / 10} of 10" in PAGE.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_server_runs_as_its_user_and_can_write_to_its_data_only(machine: Machine) -> None:
    pid = machine.bed.show("tutumd", "MainPID")
    assert machine.bed.run("stat", "--format=%U %a", "/var/lib/tutumd").split() == ["tutumd", "700"]
    assert machine.bed.run("ps", "-o", "user=", "-p", pid).split() == ["tutumd"]
    assert "tutumd" in machine.bed.run("id", "--name", "--groups", "tutumd")
    write = (
        "for each in /etc /opt/tutumd /var/lib/tutumd /tmp; do touch $each/test 2> /dev/null && echo $each; done; true"
    )
    inside = ("nsenter", f"--target={pid}", "--mount")
    assert machine.bed.run(*inside, "sh", "-c", write).split() == ["/var/lib/tutumd", "/tmp"]


@pytest.mark.slow
def test_commands_that_run_as_services_outlive_a_restart_and_a_crash_of_the_server(machine: Machine) -> None:
    command = "sh -c 'date > /tmp/mine; exec sleep 3211'"
    machine.tutum("service", "run", "--name", "sleeper", "--run-command", command, "none")
    (pid,) = wait_until(lambda: machine.pids("sleep 3211"), "the service runs", timeout_s=120)

    def check() -> None:
        wait_until(machine.is_ready, "the server is ready again", timeout_s=120)
        assert machine.pids("sleep 3211") == [pid]
        assert machine.bed.run("ls", f"/proc/{pid}/root/tmp/mine")
        wait_until(lambda: "Running" in machine.tutum("service", "ps"), "the service is seen to run", timeout_s=120)

    machine.bed.run("systemctl", "restart", "tutumd")
    check()
    main = machine.bed.show("tutumd", "MainPID")
    machine.bed.run("kill", "-KILL", main)
    wait_until(lambda: machine.bed.show("tutumd", "MainPID") not in ("0", main), "systemd starts it", timeout_s=120)
    check()
    machine.follow("Upgrade")
    check()
    machine.tutum("service", "terminate", "sleeper")
    wait_until(lambda: not machine.pids("sleep 3211"), "the service ends", timeout_s=120)


@pytest.mark.slow
def test_a_server_that_cannot_start_is_tried_until_it_can(machine: Machine) -> None:
    program = machine.bed.folder / "opt/tutumd/bin/tutumd"
    good = program.read_text()
    program.write_text("#!/bin/sh\nexit 1\n")  # as without the database
    machine.bed.run("systemctl", "restart", "tutumd", check=False)
    # systemd's own limit is 5 starts within 10 s.
    wait_until(lambda: int(machine.bed.show("tutumd", "NRestarts")) > 5, "it is tried again", timeout_s=120)
    program.write_text(good)
    wait_until(machine.is_ready, "the server is ready", timeout_s=120)


def test_the_page_stops_the_server_before_it_replaces_its_files() -> None:
    text = PAGE.read_text(encoding="utf-8").split("\n## Upgrade\n")[1].split("\n## ")[0]
    assert text.index("systemctl stop tutumd") < text.index("/pip install") < text.index("systemctl start tutumd")


@pytest.mark.slow
def test_nothing_is_left_after_the_last_step(machine: Machine) -> None:
    machine.follow("Uninstall")
    left = machine.bed.run("find", "/etc", "/opt", "/var/lib", "-maxdepth", "3", "-name", "tutumd*").splitlines()
    packages = [path for path in left if path.startswith(("/opt/checkout/", "/opt/packages/"))]  # of the bed
    assert set(left) - set(packages) == {"/etc/systemd/system/tutumd.service.d"}  # of the bed, too
    assert not machine.pids(".*tutumd.* serve")
