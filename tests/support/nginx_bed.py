"""nginx as `deploy/nginx.conf` sets it up, on ports of a test's own."""

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

CONFIG = Path(__file__).parents[2] / "deploy" / "nginx.conf"
MISSING = "this needs nginx: apt-get install --no-install-recommends nginx-light"
_FOLDERS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def find_nginx() -> str | None:
    """Find the program."""
    return shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")


def command(program: str, folder: Path, port: int, webs: Sequence[int]) -> list[str]:
    """Write the configuration for these ports into a folder; answers the command that runs nginx with it.

    Args:
        webs: Ports of the two replicas.
    """
    config = CONFIG.read_text()
    for old, new in (("8000", port), ("8001", webs[0]), ("8002", webs[1])):
        config = re.sub(rf"\b{old}\b", str(new), config)
    head = f"pid {folder}/nginx.pid; error_log {folder}/nginx-error.log; events {{}}\n"
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in _FOLDERS)
    (folder / "nginx.conf").write_text(f"{head}http {{ access_log off; {temporary}\n{config}}}\n")
    user = " user root;" if os.geteuid() == 0 else ""
    return [program, "-c", str(folder / "nginx.conf"), "-g", f"daemon off;{user}"]
