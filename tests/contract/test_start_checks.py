"""What is checked before a start makes anything, and what a start warns about, each with the mend."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from structlog.testing import capture_logs

from tests.support.guards import lacking
from tests.support.server import BIN
from tutumd.main import engines
from tutumd.main.listening import check_host
from tutumd.settings import read_settings

NOBODY = 65534
REFUSED = {
    "no kubeconfig": ({"TUTUMD_ENGINE": "kubernetes", "KUBECONFIG": "/nowhere"}, "kubeconfig"),
    "no context": ({"TUTUMD_ENGINE": "local,k=kubernetes:prod", "KUBECONFIG": "/nowhere"}, "kubeconfig"),
    "short key": ({"TUTUMD_SECRET_KEY": "abc", "TUTUMD_ENGINE": "local"}, "TUTUMD_SECRET_KEY"),
}


def run_serve(folder: Path, *options: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(BIN / "tutumd"), "serve", "--port", "0", *options],
        env={name: value for name, value in os.environ.items() if not name.startswith("TUTUM")} | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("variables", "told"), REFUSED.values(), ids=REFUSED)
def test_what_only_an_engine_or_a_key_knows_is_refused_before_anything_is_made(
    tmp_path: Path, variables: dict[str, str], told: str
) -> None:
    done = run_serve(tmp_path, **variables)
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr.splitlines()[-1]
    assert done.stderr.count("tutumd: ") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_damaged_key_file_is_refused_before_there_is_an_admin(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "secret.key").write_text("abc")
    done = run_serve(tmp_path, "--engine", "local")
    assert (done.returncode, done.stdout) == (1, "")
    assert "secret.key" in done.stderr
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["secret.key"]


@pytest.mark.slow
def test_a_data_folder_in_a_closed_one_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    program = f"""
import os
from tutumd.main import serve, told_errors
os.seteuid(os.geteuid() or {NOBODY})
with told_errors():
    serve.serve({{"engine": ["local"], "port": 0, "data_dir": "{tmp_path}/closed/data"}})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    told = f"tutumd: the data folder {tmp_path}/closed/data cannot be used: Permission denied; run chown -R {NOBODY}:"
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert done.stderr.startswith(told)


@pytest.mark.parametrize(
    ("options", "is_warned"),
    [
        ({}, False),
        ({"host": "localhost"}, False),
        ({"host": "::1"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "0.0.0.0", "trusted_proxies": ["10.0.0.1"]}, False),
        ({"host": "0.0.0.0", "public_url": "https://hooks.example.com"}, False),
        ({"host": "0.0.0.0", "public_url": "http://hooks.example.com"}, True),
    ],
)
def test_a_server_that_the_network_reaches_without_tls_is_warned_about(
    options: dict[str, object], is_warned: bool
) -> None:
    with capture_logs() as logged:
        check_host(read_settings({"port": 0, **options}))
    assert [entry["log_level"] for entry in logged] == ["warning"] * is_warned
    assert all("--trusted-proxies" in entry["event"] for entry in logged)


@contextmanager
def as_user(user: int) -> Iterator[None]:
    """Be another user while the block runs, as nobody but root can be."""
    if os.geteuid() != 0:
        lacking("this test needs root to be another user: sudo script/test")
    os.setresuid(user, user, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that every user can write."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.mark.parametrize(("user", "count"), [(0, 1), (NOBODY, 0)])
def test_commands_as_root_are_warned_about(shared_folder: Path, user: int, count: int) -> None:
    with capture_logs() as logged, as_user(user), ExitStack() as stack:
        engines.build(read_settings({"data_dir": shared_folder, "engine": ["local"]}), stack)
    assert sum("as root" in entry["event"] for entry in logged) == count


@pytest.mark.parametrize(("engine", "kind"), [("auto", "local"), ("docker", "docker"), ("swarm", "swarm")])
def test_a_socket_without_rights_is_told_with_the_mend(
    shared_folder: Path, monkeypatch: pytest.MonkeyPatch, engine: str, kind: str
) -> None:
    path = shared_folder / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))  # nobody listens
        path.chmod(0o600)
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        with capture_logs() as logged, as_user(NOBODY), ExitStack() as stack:
            built = engines.build(read_settings({"data_dir": shared_folder / "data", "engine": [engine]}), stack)
    assert list(built) == [kind]
    told = [entry["event"] for entry in logged if "no rights" in entry["event"]]
    assert len(told) == 1
    assert f"{path}: add it to the socket's group" in told[0]
    assert any("the engine is local" in entry["event"] for entry in logged) == (engine == "auto")


def test_a_socket_in_a_closed_folder_is_told_too(shared_folder: Path) -> None:
    """As that of another user's Podman, below /run/user."""
    folder = shared_folder / "closed"
    folder.mkdir(mode=0)
    settings = read_settings({"data_dir": shared_folder, "engine": [f"docker:unix://{folder}/podman.sock"]})
    with capture_logs() as logged, as_user(NOBODY), ExitStack() as stack:
        engines.build(settings, stack)
    assert ["no rights on the socket" in entry["event"] for entry in logged] == [True]
