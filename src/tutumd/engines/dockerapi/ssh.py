"""Connections to a Docker Engine over ssh, each with its own ssh process.

The process runs `docker system dial-stdio` on the host, as the Docker client does. The SDK's own transport needs
paramiko, has no time limits with the ssh program, leaves zombies, and cannot end a stream (docs/adr/0035).
"""

import os
import re
import shutil
import socket
import subprocess
import time
from http.client import HTTPException, HTTPResponse
from threading import BoundedSemaphore, Thread

from tutumd.errors import SettingsError

# sshd refuses some of more than 10 unauthenticated connections (MaxStartups), and other clients also need some.
_LOGINS_AT_ONCE = 4
_QUEUE_S = 20.0
# Pause after a refused login: fail2ban and similar programs ban a machine after a few refusals in a row.
_REFUSED_S = 30.0
_OPTIONS = (
    "BatchMode=yes",
    "LogLevel=ERROR",
    # A host that is gone is noticed within 30 s, even if nobody waits for a response.
    "ServerAliveInterval=10",
    "ServerAliveCountMax=3",
    # This process may be killed: no other connection may depend on it.
    "ControlMaster=no",
    # Settings for people that a configuration may have.
    "ClearAllForwardings=yes",
    "RemoteCommand=none",
    "RequestTTY=no",
)


class _SshSocket(socket.socket):
    """A socket to the input and output of an ssh process, which ends with it."""

    def __init__(self, process: "subprocess.Popen[bytes]", fileno: int) -> None:
        super().__init__(fileno=fileno)
        self._process = process
        self._stderr = b""
        self._reaper = Thread(target=self._attend, name="ssh", daemon=True)
        self._reaper.start()

    def _attend(self) -> None:
        # It never waits for a reader of its stderr, and leaves no zombie.
        self._stderr = self._process.communicate()[1]

    def close(self) -> None:
        """Close the socket, and end the process once no response reads from it."""
        super().close()
        if self.fileno() < 0:
            self._process.kill()
            # Not forever: a process of a ProxyCommand may keep stderr open.
            self._reaper.join(1)

    def complaint(self, timeout_s: float) -> str:
        """Return the last line on stderr of the process if the process has ended in time; otherwise an empty text."""
        self._reaper.join(max(timeout_s, 0))
        return self._stderr.decode(errors="replace").strip().rpartition("\n")[2].strip()


class SshHost:
    """A host for ssh, configured by `~/.ssh/config` and `known_hosts` of this user.

    Args:
        url: `ssh://USER@HOST:PORT`; the user and the port may be missing.

    Raises:
        SettingsError: The URL is not valid, or the program ssh is missing.
    """

    def __init__(self, url: str) -> None:
        if not re.fullmatch(r"ssh://([^@:/?#\s]+@)?[^@/?#\s]+", url):
            # The URL is not shown: it may have a password.
            raise SettingsError(
                "the address of an engine over ssh must be ssh://USER@HOST or ssh://USER@HOST:PORT, with no password "
                "and no path; log in with a key"
            )
        if shutil.which("ssh") is None:
            raise SettingsError(f"{url} needs the program ssh: apt-get install openssh-client")
        self._url = url
        self._logins = BoundedSemaphore(_LOGINS_AT_ONCE)
        self._refusal, self._refused_until = "", 0.0

    def open_socket(self, timeout_s: float) -> socket.socket:
        """Log in, and return a socket to the engine after it has responded to a ping.

        Raises:
            OSError: ssh failed, or the engine did not respond in time.
        """
        if not self._logins.acquire(timeout=_QUEUE_S):
            raise TimeoutError
        deadline = time.monotonic() + timeout_s
        try:
            if time.monotonic() < self._refused_until:
                raise ConnectionError(self._refusal)
            connection = self._start(timeout_s)
            if _is_answered(connection):
                return connection
        finally:
            self._logins.release()
        reason = connection.complaint(deadline - time.monotonic()) or f"no response within {timeout_s:g} s"
        connection.close()
        text = (
            f"{self._url}: {reason}; as the user that runs tutumd, run `ssh {self._url} docker version` until it shows "
            "the engine's version and asks nothing"
        )
        if "Permission denied (" in reason or "Host key verification failed" in reason:
            self._refusal, self._refused_until = text, time.monotonic() + _REFUSED_S
        raise ConnectionError(text)

    def _start(self, timeout_s: float) -> _SshSocket:
        options = [f"-o{option}" for option in (*_OPTIONS, f"ConnectTimeout={max(round(timeout_s), 1)}")]
        ours, theirs = socket.socketpair()
        with ours, theirs:
            process = subprocess.Popen(
                ["ssh", *options, "--", self._url, "docker system dial-stdio"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                env={name: value for name, value in os.environ.items() if not name.startswith("TUTUMD_")},
                start_new_session=True,
            )
            connection = _SshSocket(process, ours.detach())
        connection.settimeout(timeout_s)
        return connection


def _is_answered(connection: socket.socket) -> bool:
    """Return True if the engine has responded to a ping, False if it did not in time or ssh ended."""
    try:
        connection.sendall(b"GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n")
        with HTTPResponse(connection) as response:
            response.begin()
            response.read()
    except (OSError, HTTPException):
        return False
    return True
