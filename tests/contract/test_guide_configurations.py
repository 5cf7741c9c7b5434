"""nginx accepts the configuration in docs/how-to/docker.md."""

import subprocess
from pathlib import Path

from tests.support.documentation import blocks
from tests.support.guards import lacking
from tests.support.nginx_bed import MISSING, find_nginx


def test_nginx_accepts_the_location_for_start_first(tmp_path: Path) -> None:
    program = find_nginx()
    if program is None:
        lacking(MISSING)
    config = tmp_path / "nginx.conf"
    [location] = [block.text for block in blocks("docs/how-to/docker.md") if block.language == "nginx"]
    server = f"listen unix:{tmp_path}/socket;\n{location}"
    config.write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}}\nhttp {{ access_log off; server {{ {server} }} }}"
    )
    done = subprocess.run([program, "-t", "-c", config], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
