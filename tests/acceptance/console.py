"""The command line client, run against a server."""

import json
import re
import subprocess
from typing import Any

from tests.support.server import BIN, LIMIT_S, LiveServer


class Console:
    """The `tutum` command as the examples' user."""

    def __init__(self, server: LiveServer) -> None:
        self.server = server

    def __call__(self, *arguments: str, code: int = 0, stdin: str = "") -> str:
        """Run a command, check its exit code, and return what it printed."""
        done = subprocess.run(
            [str(BIN / "tutum"), *arguments],
            env=self.server.client_environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == code, (done.stdout, done.stderr)
        # What each command that prints a URL says of a server without a public one.
        return done.stdout + re.sub("This URL works on the server's machine only: .*\n", "", done.stderr)

    def hook(self, *arguments: str, code: int = 0, stdin: str = "") -> str:
        """Run `tutum webhook-handler`."""
        return self("webhook-handler", *arguments, code=code, stdin=stdin)

    def shown(self, service: str, handler: str) -> dict[str, Any]:
        """Return all fields of a handler."""
        return dict(json.loads(self.hook("show", service, handler, "--json")))
