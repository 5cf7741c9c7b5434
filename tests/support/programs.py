"""Programs that run to their end, or while a block of a test runs."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

_END_S = 240.0
_Stream = int | IO[bytes]
Finished = subprocess.CompletedProcess[str]


def without_settings(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return an environment, that of this process by default, without the settings of server and clients."""
    return {name: value for name, value in environment.items() if not name.startswith("TUTUM")}


def finished(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    input: str | bytes | None = None,
    timeout_s: float = 240.0,
) -> Finished:
    """Run a program to its end, whatever its exit code, and return the finished process with its output as text."""
    sent = input.encode() if isinstance(input, str) else input
    done = subprocess.run(command, env=env, cwd=cwd, input=sent, timeout=timeout_s, capture_output=True, check=False)
    return Finished(
        done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )


def listens(port: int) -> bool:
    """Return whether a program listens on a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def check(command: Sequence[str | Path], **options: Any) -> str:
    """Run a program by `finished` and return its stdout.

    Raises:
        RuntimeError: The program failed. The text has the end of its output.
    """
    done = finished(command, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} exited with {done.returncode}: {_end_of(done)}")
    return done.stdout


def _end_of(done: Finished) -> str:
    return (done.stdout + done.stderr).strip()[-3000:]


def start(
    command: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None, **options: Any
) -> "subprocess.Popen[bytes]":
    """Start a program whose output is appended to a log. Ctrl-C in a terminal is not for it, but for pytest.

    Args:
        options: As of `subprocess.Popen`.
    """
    with log.open("ab") as out:
        return subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, **options
        )


def end(process: "subprocess.Popen[bytes]", how: signal.Signals = signal.SIGTERM) -> int:
    """End a process by a signal, or by SIGKILL if it has not ended after 240 s; return its exit code."""
    process.send_signal(how)
    try:
        return process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait(60)


@contextmanager
def running(
    command: Sequence[str],
    *,
    stdin: _Stream = subprocess.DEVNULL,
    stdout: _Stream | None = None,
    stderr: _Stream | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a program, and end it with the block: by SIGTERM, and after 240 s by SIGKILL."""
    process = subprocess.Popen(
        command, stdin=stdin, stdout=stdout, stderr=stderr, env=env, cwd=cwd, start_new_session=True
    )
    try:
        yield process
    finally:
        end(process)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
