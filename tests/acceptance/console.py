"""The commands `tutum` and `tutumd`, run in the process of the test."""

import gc
import io
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from subprocess import CompletedProcess
from typing import Any

import structlog

from tests.support.server import LiveServer
from tutum.cli.app import run
from tutumd.main import told_errors
from tutumd.main.commands import app


def run_tutum(environment: Mapping[str, str], *arguments: str, stdin: str = "") -> "CompletedProcess[str]":
    """Run `tutum` in this process: a process of its own takes half a second to start."""
    done = _run(lambda: run(arguments), environment, arguments, stdin.encode())
    return CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def run_tutumd(environment: Mapping[str, str], *arguments: str) -> "CompletedProcess[bytes]":
    """Run a command of `tutumd` in this process: one of its own takes two seconds to start.

    Neither for `backup`, which lowers the priority of its process, nor for what serves or reads a pipe.
    """

    def run_command() -> None:
        with told_errors():
            app(args=arguments, prog_name="tutumd")

    root, config = logging.getLogger(), structlog.get_config()
    handlers, level = list(root.handlers), root.level
    try:
        return _run(run_command, environment, arguments)
    finally:
        gc.collect()  # its connections to the database end, as with a process
        structlog.configure(**config)
        root.handlers[:] = handlers
        root.setLevel(level)


def _run(
    command: Callable[[], None], environment: Mapping[str, str], arguments: Sequence[str], stdin: bytes = b""
) -> "CompletedProcess[bytes]":
    written = [io.BytesIO(), io.BytesIO()]
    out, err = (io.TextIOWrapper(each, encoding="utf-8", newline="", write_through=True) for each in written)
    code: Any = 0
    with _process_of(environment, stdin), redirect_stdout(out), redirect_stderr(err):
        try:
            command()
        except SystemExit as ended:
            code = ended.code or 0
    return CompletedProcess(arguments, int(code), *(each.getvalue() for each in written))


@contextmanager
def _process_of(environment: Mapping[str, str], stdin: bytes) -> Iterator[None]:
    before, terminal = dict(os.environ), sys.stdin
    os.environ.clear()
    os.environ.update(environment)
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        sys.stdin = terminal


class Console:
    """The `tutum` command as the examples' user."""

    def __init__(self, server: LiveServer) -> None:
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
