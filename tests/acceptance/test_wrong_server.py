"""`tutum` and a URL that leads to another program, or whose certificate this machine does not trust."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.https_site import make_certificate, site
from tests.support.server import BIN, LIMIT_S

COMMANDS = (("login", "--user", "admin"), ("service", "ps"), ("webhook-handler", "list", "web"))


def run(url: str, *arguments: str, home: Path, **variables: str) -> str:
    """Run a command that fails, and return its one line on standard error."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TUTUM", "SSL_"))}
    done = subprocess.run(
        [str(BIN / "tutum"), *arguments],
        input="key\n",
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        env=clean | {"HOME": str(home), "TUTUM_REST_HOST": url} | variables,
    )
    assert (done.returncode, done.stdout) == (3, ""), done
    (line,) = done.stderr.splitlines()
    assert not (home / ".tutum").exists()
    return line


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
