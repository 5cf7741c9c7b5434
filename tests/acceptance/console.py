"""The command line client, run against a server."""

import io
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

from tests.support.api import Api
from tutum.cli.app import run


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a command printed, and how it exited; with the names of `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str


def run_tutum(environment: Mapping[str, str], *arguments: str, stdin: str = "") -> Ran:
    """Run `tutum` in this process: a process of its own takes half a second to start."""
    out, err = _text(), _text()
    with _process_of(environment, stdin), redirect_stdout(out), redirect_stderr(err):
        try:
            run(arguments)
            code: Any = 0
        except SystemExit as ended:
            code = ended.code or 0
    return Ran(returncode=int(code), stdout=_written(out), stderr=_written(err))


@contextmanager
def _process_of(environment: Mapping[str, str], stdin: str) -> Iterator[None]:
    before, terminal = dict(os.environ), sys.stdin
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        sys.stdin = terminal


def _text() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    written = stream.buffer
    assert isinstance(written, io.BytesIO)
    return written.getvalue().decode()


class Console:
    """The `tutum` command as the examples' user."""

    def __init__(self, server: Api) -> None:
        self.server = server

    def __call__(self, *arguments: str, code: int = 0, stdin: str = "") -> str:
        """Run a command, check its exit code, and return what it printed."""
        out, err = self.run(*arguments, code=code, stdin=stdin)
        # What each command that prints a URL says of a server without a public one.
        return out + re.sub("This URL works on the server's machine only: .*\n", "", err)

    def run(self, *arguments: str, code: int = 0, stdin: str = "", **variables: str) -> tuple[str, str]:
        """Run a command with these variables, check its exit code, and return what it printed to both streams."""
        done = run_tutum(self.server.client_environment | variables, *arguments, stdin=stdin)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout, done.stderr

    def hook(self, *arguments: str, code: int = 0, stdin: str = "") -> str:
        """Run `tutum webhook-handler`."""
        return self("webhook-handler", *arguments, code=code, stdin=stdin)

    def shown(self, service: str, handler: str) -> dict[str, Any]:
        """Return all fields of a handler."""
        return dict(json.loads(self.hook("show", service, handler, "--json")))
