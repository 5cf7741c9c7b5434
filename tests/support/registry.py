"""Registry of a test bed: docker-registry in the bed's network namespace."""

import json
import signal
import subprocess
from pathlib import Path

from tests.support import namespace
from tests.support.waiting import wait_until

ANONYMOUS = "127.0.0.1:5000"
PRIVATE = "127.0.0.1:5001"
USER = "tester"
PASSWORD = "tutumd-test"
# bcrypt of PASSWORD at its lowest cost, the only form that docker-registry reads.
_HTPASSWD = f"{USER}:$2b$04$vRYHhoR3Na27z8IkKCJCEu2WVbbHFL8C6.DPFOKAAzE83rUjE11Te\n"


class Registry:
    """One registry. It keeps its images when it is stopped.

    Args:
        address: `PRIVATE` wants `USER` and `PASSWORD`; another is open.
        folder: Of the whole bed.
    """

    def __init__(self, address: str, bed: str, folder: Path) -> None:
        self.address = address
        self._bed = bed
        self._folder = folder / f"registry-{address.rpartition(':')[2]}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the registry, unless it runs, and wait until it listens."""
        if self._process is not None:
            return
        self._folder.mkdir(exist_ok=True)
        (self._folder / "htpasswd").write_text(_HTPASSWD)
        # JSON is YAML.
        (self._folder / "config.yml").write_text(json.dumps(self._settings()))
        serve = ["docker-registry", "serve", str(self._folder / "config.yml")]
        log = self._folder / "log"
        self._process = namespace.spawn_in(self._bed, serve, log)
        wait_until(self._listens, f"the registry listens on {self.address}; {log}")

    def stop(self) -> None:
        """Stop the registry. Connections to it are then refused."""
        if self._process is not None:
            namespace.end(self._process, signal.SIGKILL)
            self._process = None

    def _settings(self) -> dict[str, object]:
        settings: dict[str, object] = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(self._folder / "data")}, "delete": {"enabled": True}},
            "http": {"addr": self.address},
        }
        if self.address == PRIVATE:
            settings["auth"] = {"htpasswd": {"realm": "test", "path": str(self._folder / "htpasswd")}}
        return settings

    def _listens(self) -> bool:
        return f" {self.address} " in namespace.run_in(self._bed, ["ss", "-Hltn"])
