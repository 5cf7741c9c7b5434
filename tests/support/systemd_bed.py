"""A real systemd as the first process of a namespace, with `/etc`, `/opt` and `/var` of its own.

It shares programs and the network with the machine, and starts no unit but the one it is told to: `/` is read-only, and
`/etc` is a copy without the machine's units. `/opt/tutumd` has tutumd, as a virtual environment would.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.support import guards, leftovers
from tests.support.programs import finished, start
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
_CGROUPS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
_OWN = ("etc", "opt", "var")

# Its arguments: the bed's folder, the checkout, and the Python to use.
_BOOT = """
set -e
mount --make-rprivate /
mount -t proc proc /proc
umount --recursive --lazy /sys/fs/cgroup
# Mounts of other test beds would stay as long as this one.
awk '$5 ~ "^/(run|tmp|dev/shm)/" {print $5}' /proc/self/mountinfo | sort -r |
    xargs -r umount --lazy 2> /dev/null || true
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --bind "$2" "$1/opt/checkout"
mount --bind "$3" "$1/opt/python"
mount --bind "$4" "$1/opt/packages"
for each in etc opt var; do mount --rbind "$1/$each" "/$each"; done
mount -o remount,bind,ro /
mount -t tmpfs -o mode=755 tmpfs /run
# The folder may be below it, and the unit removes what its user has there.
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mkdir /run/tutumd-test
export container=other
exec /usr/lib/systemd/systemd --system --unit=empty.target --log-target=console --show-status=no
"""
_EMPTY = "[Unit]\nDescription=Nothing\nDefaultDependencies=no\n"
_PROGRAM = """#!/bin/sh
export PYTHONHOME=/opt/python PYTHONPATH=/opt/checkout/src:/opt/packages LD_LIBRARY_PATH=/opt/python/lib
exec /opt/python/bin/python3 -c "import sys; sys.argv[0] = '$0'; from PACKAGE import main; main()" "$@"
"""
# The units of the machine that others wait for are not started.
_ALONE = """[Unit]
DefaultDependencies=no
Wants=
After=
[Service]
StandardOutput=append:/var/log/tutumd.log
StandardError=append:/var/log/tutumd.log
"""


class SystemdBed:
    """One systemd, with the name of this process."""

    def __init__(self) -> None:
        self.name = f"{leftovers.PREFIX}{os.getpid()}-systemd"
        self.folder = leftovers.folder_of(self.name)
        self._cgroup = next(path for path in _CGROUPS if (path / "cgroup.procs").exists()) / self.name
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        guards.require_part("systemd")
        if os.geteuid() != 0:
            guards.lacking("this test needs root for namespaces: sudo script/test")
        leftovers.remove_dead_beds()
        try:
            self._make_folder()
            self._cgroup.mkdir()
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        left = leftovers.traces(self.name)
        assert not left, f"the test bed left something on the machine: {left}"

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)
        leftovers.remove(self.name)

    def run(self, *command: str, check: bool = True, cwd: str = "/opt/checkout") -> str:
        """Run a program as root beside systemd, and return its stdout and stderr."""
        enter = ("nsenter", f"--target={self.pid}", "--mount", "--pid", "--ipc", "--uts", "--cgroup")
        done = finished([*enter, "env", "-C", cwd, *command])
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}: {done.stdout} {done.stderr}")
        return done.stdout + done.stderr

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", f"--property={name}", "--value", unit).strip()

    @property
    def pid(self) -> int:
        """systemd, as the machine sees it."""
        child = self._child()
        assert child is not None, "systemd does not run"
        return child

    def _child(self) -> int | None:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def _make_folder(self) -> None:
        for each in ("etc/systemd/system", "opt/tutumd/bin", "opt/checkout", "opt/python", "opt/packages", "var/log"):
            (self.folder / each).mkdir(parents=True)
        self.folder.chmod(0o755)
        leftovers.write_owner(self.name)
        ignored = shutil.ignore_patterns("systemd", "sysusers.d")
        shutil.copytree("/etc", self.folder / "etc", symlinks=True, ignore=ignored, dirs_exist_ok=True)
        (self.folder / "etc/sysusers.d").mkdir()
        (self.folder / "etc/systemd/system/empty.target").write_text(_EMPTY)
        (drop_ins := self.folder / "etc/systemd/system/tutumd.service.d").mkdir()
        (drop_ins / "alone.conf").write_text(_ALONE)
        for name, package in (("tutumd", "tutumd.main"), ("tutum", "tutum.cli")):
            program = self.folder / "opt/tutumd/bin" / name
            program.write_text(_PROGRAM.replace("PACKAGE", package))
            program.chmod(0o755)

    def _start(self) -> None:
        places = (str(self.folder), str(ROOT), sys.base_prefix, sysconfig.get_path("purelib"))
        new = ("--cgroup", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child")
        join: Sequence[str] = ("sh", "-c", f'echo $$ > {self._cgroup}/cgroup.procs; exec "$@"', "sh")
        command = (*join, "setpriv", "--pdeathsig=KILL", "unshare", *new, "sh", "-c", _BOOT, "sh", *places)
        self._process = start(command, self.folder / "output")
        wait_until(self._is_up, f"systemd answers; {self.folder}/output")

    def _is_up(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"systemd ended: {(self.folder / 'output').read_text()}")
        return self._child() is not None and "empty.target" in self.run(
            "systemctl", "list-units", "--no-pager", check=False
        )
