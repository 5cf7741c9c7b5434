"""Caddy as `deploy/proxies/Caddyfile` configures it, on a port of a test's own."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support import guards
from tests.support.programs import listens, running
from tests.support.server import free_port
from tests.support.waiting import wait_until

CONFIG = Path(__file__).parents[2] / "deploy" / "proxies" / "Caddyfile"
CERTIFICATE = Path("data/caddy/pki/authorities/local/root.crt")
"""The certificate to trust, in the folder of a Caddy that serves TLS."""

_TRY = "lb_try_duration 10s"
_GLOBAL = "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n"


@contextmanager
def caddy(
    folder: Path, webs: Sequence[int], *, tls: bool = False, try_s: int | None = None, lines: str = ""
) -> Iterator[int]:
    """Run Caddy in front of these ports while the block runs; yield its port. Its log is `output` in the folder.

    Args:
        tls: Serve TLS as `localhost`, with a certificate of `CERTIFICATE`.
        try_s: Replaces how long requests wait for a server.
        lines: Are added to the site.
    """
    guards.require_part("caddy")
    folder.mkdir(exist_ok=True)
    port = free_port()
    config = _configure(port, webs, lines, tls=tls)
    if try_s is not None:
        assert _TRY in config
        config = config.replace(_TRY, f"lb_try_duration {try_s}s")
    (folder / "Caddyfile").write_text(config)
    command = [shutil.which("caddy") or "caddy", "run", "--config", str(folder / "Caddyfile")]
    homes = {"HOME": str(folder), "XDG_DATA_HOME": str(folder / "data"), "XDG_CONFIG_HOME": str(folder / "config")}
    with (
        (folder / "output").open("wb") as output,
        running(command, stdout=output, stderr=output, env=dict(os.environ) | homes),
    ):
        wait_until(lambda: listens(port), f"Caddy listens; {folder}/output")
        if tls:
            log = folder / "output"
            wait_until(lambda: "certificate obtained successfully" in log.read_text(), f"a certificate; {log}")
        yield port


def _configure(port: int, webs: Sequence[int], lines: str, *, tls: bool) -> str:
    site = f"localhost:{port} {{\n\ttls internal\n" if tls else f"http://127.0.0.1:{port} {{\n"
    config = CONFIG.read_text(encoding="utf-8")
    for old, new in (
        ("{\n", _GLOBAL),  # the first block has the global options
        ("hooks.example.com {\n", site + lines),
        ("127.0.0.1:8000", " ".join(f"127.0.0.1:{web}" for web in webs)),
    ):
        assert old in config
        config = config.replace(old, new, 1)
    return config
