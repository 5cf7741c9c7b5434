"""nginx and Caddy accept the configurations in docs/how-to/docker.md and docs/how-to/run-for-real.md."""

import subprocess
from pathlib import Path

import pytest

from tests.support.documentation import blocks
from tests.support.guards import lacking, require_programs
from tests.support.nginx_bed import MISSING, find_nginx


def _block(page: str, language: str) -> str:
    [found] = [block.text for block in blocks(page) if block.language == language]
    return found


def test_nginx_accepts_the_location_for_start_first(tmp_path: Path) -> None:
    program = find_nginx()
    if program is None:
        lacking(MISSING)
    config = tmp_path / "nginx.conf"
    server = f"listen unix:{tmp_path}/socket;\n{_block('docs/how-to/docker.md', 'nginx')}"
    config.write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}}\nhttp {{ access_log off; server {{ {server} }} }}"
    )
    done = subprocess.run([program, "-t", "-c", config], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", ["docs/how-to/run-for-real.md"])
def test_caddy_accepts_the_site(tmp_path: Path, page: str) -> None:
    require_programs("caddy")
    config = tmp_path / "Caddyfile"
    config.write_text(_block(page, "caddy"))
    done = subprocess.run(
        ["caddy", "adapt", "--config", config, "--validate"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
