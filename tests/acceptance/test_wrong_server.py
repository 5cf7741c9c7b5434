"""`tutum` in a process of its own, without a server, with another program or with a certificate that is not trusted."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.https_site import make_certificate, site
from tests.support.server import BIN, LIMIT_S

NOWHERE = "http://127.0.0.1:1"
COMMANDS = (("login", "--user", "admin"), ("service", "ps"), ("webhook-handler", "list", "web"))


def finish(url: str, *arguments: str, home: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, with nothing from outside."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TUTUM", "SSL_"))}
    return subprocess.run(
        [str(BIN / "tutum"), *arguments],
        input="key\n",
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env=clean | {"HOME": str(home), "TUTUM_REST_HOST": url} | variables,
    )


def run(url: str, *arguments: str, home: Path, **variables: str) -> str:
    """Run a command that fails, and return its one line on standard error."""
    done = finish(url, *arguments, home=home, **variables)
    assert (done.returncode, done.stdout) == (3, ""), done
    (line,) = done.stderr.splitlines()
    assert not (home / ".tutum").exists()
    return line


def test_an_unreachable_server_is_named_with_the_remedy(tmp_path: Path) -> None:
    line = run(NOWHERE, "service", "ps", home=tmp_path)
    assert re.fullmatch(r"tutum: cannot reach http://127\.0\.0\.1:1: .*refused.*TUTUM_REST_HOST.*", line)
    line = run("", "login", "--user", "bob", "--host", NOWHERE, home=tmp_path)
    assert f"cannot reach {NOWHERE}" in line


@pytest.mark.parametrize(
    ("line", "host"), [("tutum service redeploy w", NOWHERE), ("tutum webhook-handler show web d", "no URL")]
)
def test_completion_without_a_server_offers_and_says_nothing(tmp_path: Path, line: str, host: str) -> None:
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = finish(host, home=tmp_path, _TUTUM_COMPLETE="complete_bash", **words)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [], "")


def test_the_command_is_a_module_too(tmp_path: Path) -> None:
    done = subprocess.run(
        [BIN / "python", "-m", "tutum", "--version"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, finish("", "--version", home=tmp_path).stdout)


@pytest.mark.slow
def test_a_certificate_that_is_not_trusted_is_explained(tmp_path: Path) -> None:
    trusted = make_certificate(tmp_path / "ca.pem", 30)
    with site(tmp_path / "ca.pem") as port:
        for arguments in COMMANDS:
            line = run(f"https://localhost:{port}", *arguments, home=tmp_path)
            assert "its certificate is not valid (self-signed certificate)" in line
            assert "set SSL_CERT_FILE to the file with the certificate of that CA" in line
            assert "Is the server running" not in line
        assert "like a tutumd server" in run(f"https://localhost:{port}", "service", "ps", home=tmp_path, **trusted)
        other = run(f"https://127.0.0.1:{port}", "service", "ps", home=tmp_path, **trusted)
        assert "use the host name that the certificate is for" in other
        none = run(f"https://localhost:{port}", "service", "ps", home=tmp_path, SSL_CERT_FILE=str(tmp_path / "none"))
        assert "SSL_CERT_FILE" in none
    expired = make_certificate(tmp_path / "old.pem", -1)
    with site(tmp_path / "old.pem") as port:
        assert "renew it" in run(f"https://localhost:{port}", "service", "ps", home=tmp_path, **expired)
    with site() as port:
        assert "does the URL need http://" in run(f"https://localhost:{port}", "service", "ps", home=tmp_path)
