"""What is checked before a start makes anything, and what a start warns about, each with the mend."""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from structlog.testing import capture_logs

from tests.support.guards import lacking
from tests.support.programs import Finished, finished, without_settings
from tests.support.server import BIN
from tutumd.errors import EngineUnavailableError, Reason, SettingsError
from tutumd.main import engines
from tutumd.main.startup import check_host, check_user_header
from tutumd.settings import Settings, read_settings

NOBODY = 65534


def run_serve(folder: Path, *options: str, **variables: str) -> Finished:
    return finished(
        [str(BIN / "tutumd"), "serve", "--port", "0", *options], env=without_settings() | variables, cwd=folder
    )


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["kubernetes", "local,k=kubernetes:prod"])
def test_an_engine_that_cannot_be_built_is_told_before_there_is_an_admin(tmp_path: Path, engine: str) -> None:
    done = run_serve(tmp_path, TUTUMD_ENGINE=engine, KUBECONFIG="/nowhere")
    assert (done.returncode, done.stdout) == (1, "")
    assert "kubeconfig" in done.stderr.splitlines()[-1]
    assert done.stderr.count("tutumd: ") == 1


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
    done = finished([sys.executable, "-c", program])
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


def test_a_socket_without_rights_is_an_engine_that_says_so(
    shared_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shared_folder / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))  # nobody listens
        path.chmod(0o600)
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        with as_user(NOBODY), ExitStack() as stack:
            built = engines.build(read_settings({"data_dir": shared_folder / "data"}), stack)
            with pytest.raises(EngineUnavailableError) as raised:
                built["docker"].probe()
            demo = engines.find_specs(read_settings({"demo": True}))
    assert list(built) == ["docker", "local"]
    assert raised.value.faults == (Reason("socket-denied", (str(path),)),)
    assert [spec.name for spec in demo] == ["local"], "the demo needs no other engine"


def proxies(*trusted: str) -> Settings:
    return read_settings({"user_header": "X-Forwarded-User", "trusted_proxies": trusted})


@pytest.mark.parametrize(
    "trusted",
    [
        ("127.0.0.1", "::1"),
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8"),
        ("198.18.0.7", "8.8.8.0/24", "2606:4700::1", "2606:4700:1::/48"),
    ],
)
def test_proxies_may_name_the_user(trusted: tuple[str, ...]) -> None:
    check_user_header(proxies(*trusted))


@pytest.mark.parametrize(
    "refused", ["0.0.0.0/0", "::/0", "128.0.0.0/1", "10.0.0.0/7", "100.64.0.0/10", "8.8.0.0/23", "2606:4700::/32"]
)
def test_networks_of_strangers_may_not_name_the_user(refused: str) -> None:
    with pytest.raises(SettingsError, match=f"whose {refused} is wider than"):
        check_user_header(proxies("127.0.0.1", refused))


def test_without_a_proxy_nobody_may_name_the_user() -> None:
    with pytest.raises(SettingsError, match="give its address"):
        check_user_header(proxies())
