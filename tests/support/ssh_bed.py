"""An OpenSSH server on loopback, whose users reach one Docker Engine, and an ssh client that knows it.

Both have keys and settings of their own, in one folder. The client is a program `ssh` in `bin`, which comes first on
the PATH: OpenSSH reads the account's own folder, whatever HOME says.
"""

import getpass
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import psutil

from tests.support import processes
from tests.support.leaks import current_owner
from tests.support.programs import check, end, start
from tests.support.server import free_port
from tests.support.waiting import wait_until

SSHD = "/usr/sbin/sshd"


class SshBed:
    """The server and its client.

    Args:
        docker_host: The engine that `docker` reaches for those who log in.
        path: Where their programs are.
    """

    def __init__(self, folder: Path, docker_host: str, *, path: str = os.defpath) -> None:
        self._folder = folder
        # Without the account's own .bashrc, which may do anything for as long as it likes.
        self._environment = f"DOCKER_HOST={docker_host} PATH={path} HOME={folder}"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"
        self.known_hosts = folder / "known_hosts"
        self.authorized_keys = folder / "authorized_keys"
        self.bin = folder / "bin"
        self._logins = folder / "logins"

    def __enter__(self) -> Self:
        self._write_keys()
        self._write_client()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs that uses the client."""
        return {"PATH": f"{self.bin}:{os.environ['PATH']}"}

    @property
    def log(self) -> str:
        return (self._folder / "sshd.log").read_text(errors="replace")

    @property
    def logins(self) -> int:
        """The number of times that the client has begun to log in."""
        return self._logins.stat().st_size if self._logins.exists() else 0

    def start(self) -> None:
        """Start the server, and wait until it listens."""
        # Privileges are separated there; a service manager makes it.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        settings = {
            "ListenAddress": f"127.0.0.1:{self.port}",
            "HostKey": self._folder / "host",
            "AuthorizedKeysFile": self.authorized_keys,
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "PidFile": "none",
            # It refuses more logins at a time; by default, some of more than 10.
            "MaxStartups": "6:100:6",
            "SetEnv": self._environment,
        }
        config = self._folder / "sshd_config"
        config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        command = [SSHD, "-D", "-e", "-f", str(config)]
        self._process = start(command, self._folder / "sshd.log", env=os.environ | current_owner())
        wait_until(lambda: f"listening on 127.0.0.1 port {self.port}" in self.log, f"sshd listens: {self.log}")

    def stop(self) -> None:
        """Stop the server and end all sessions, as if the host was switched off."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGSTOP)  # so that no session begins that would stay
        sessions = self._sessions()
        end(self._process, signal.SIGKILL)
        self._process = None
        (self._folder / "sshd.log").unlink()
        processes.send(sessions, signal.SIGKILL)
        psutil.wait_procs(sessions, timeout=60)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let all sessions hang while the block runs."""
        sessions = self._sessions()
        processes.send(sessions, signal.SIGSTOP)
        try:
            yield
        finally:
            processes.send(sessions, signal.SIGCONT)

    def _sessions(self) -> list[psutil.Process]:
        assert self._process is not None
        return processes.below(self._process.pid)

    def forget_host(self) -> None:
        """Take the server's key from those that the client knows."""
        self.known_hosts.write_text("")

    def _write_keys(self) -> None:
        for name in ("host", "client"):
            check(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._folder / name)])
        host_key = (self._folder / "host.pub").read_text()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {host_key}")
        shutil.copy(self._folder / "client.pub", self.authorized_keys)

    def _write_client(self) -> None:
        config = self._folder / "ssh_config"
        config.write_text(
            f"UserKnownHostsFile {self.known_hosts}\nGlobalKnownHostsFile none\n"
            f"IdentityFile {self._folder}/client\nIdentitiesOnly yes\nIdentityAgent none\n"
        )
        self.bin.mkdir()
        program = self.bin / "ssh"
        program.write_text(f'#!/bin/sh\nprintf . >> {self._logins}\nexec {shutil.which("ssh")} -F {config} "$@"\n')
        program.chmod(0o755)


def clients(url: str) -> list[psutil.Process]:
    """Return the processes of this one, and of those below it, that connect to the URL, zombies too."""
    return [one for one in processes.below(os.getpid()) if url in processes.command(one) or processes.is_zombie(one)]
