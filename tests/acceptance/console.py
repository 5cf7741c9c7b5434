"""The command line client, run against a server, in this process: starting Python takes longer than a command."""

import io
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any
from unittest import mock

import tutum
from tests.support.server import APIKEY, USER, LiveServer
from tutum.cli.app import run


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
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), self._as_user(stdin, variables):
            try:
                run(arguments)
            except SystemExit as ended:
                ended_with = ended.code or 0
            else:
                ended_with = 0
        assert ended_with == code, (out.getvalue(), err.getvalue())
        return out.getvalue(), err.getvalue()

    @contextmanager
    def _as_user(self, stdin: str, variables: dict[str, str]) -> Iterator[None]:
        client = tutum.Client(user=USER, apikey=APIKEY, base_url=f"{self.server.url}/api/v1/")
        environment = self.server.client_environment | variables
        with (
            mock.patch.dict(os.environ, environment, clear=True),
            mock.patch.object(tutum, "default_client", client),
            mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")),
        ):
            try:
                yield
            finally:
                client.close()

    def hook(self, *arguments: str, code: int = 0, stdin: str = "") -> str:
        """Run `tutum webhook-handler`."""
        return self("webhook-handler", *arguments, code=code, stdin=stdin)

    def shown(self, service: str, handler: str) -> dict[str, Any]:
        """Return all fields of a handler."""
        return dict(json.loads(self.hook("show", service, handler, "--json")))
