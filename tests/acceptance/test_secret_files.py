"""A server whose secrets are in files."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.server import LiveServer
from tests.support.waiting import wait_until
from tutumd.application.admission.encryption import make_key


@pytest.mark.slow
def test_a_new_worker_needs_no_file_that_is_gone(tmp_path: Path) -> None:
    files = {
        "TUTUMD_DATABASE_FILE": tmp_path / "database",
        "TUTUMD_SECRET_KEY_FILE": tmp_path / "key",
    }
    files["TUTUMD_DATABASE_FILE"].write_text(f"sqlite:///{tmp_path}/elsewhere.db\n")
    files["TUTUMD_SECRET_KEY_FILE"].write_text(f"{make_key()}\n")
    environment = {name: str(path) for name, path in files.items()}
    with LiveServer(tmp_path, "--engine", "local", environment=environment) as server:
        assert (tmp_path / "elsewhere.db").exists()
        assert not (server.data / "secret.key").exists()
        for path in files.values():
            path.unlink()
        dead = server.worker.pid
        os.kill(dead, signal.SIGKILL)
        wait_until(lambda: (new := server.find_worker()) and new.pid != dead, "there is a new worker")
        server.run_service("web")  # it uses the same database
        assert "_FILE" not in server.log
