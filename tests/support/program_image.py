"""Images of Debian's Caddy and HAProxy under the names that `deploy/compose` gives, since none can be pulled."""

import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

from tests.support.docker_bed import DockerBed
from tests.support.images import APPLETS, BUSYBOX

_LIBRARY = re.compile(r"(/\S+) \(0x")
_SEARCHED = "/usr/local/bin:/usr/bin:/usr/sbin"
# What the images on Docker Hub are like, as far as the compose file depends on it.
_IMAGES = {
    "caddy:2": ("caddy", 'CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]'),
    "haproxy:3.0-alpine": ("haproxy", 'CMD ["haproxy", "-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]'),
}
NAMES = tuple(_IMAGES)
_FILES = {
    "etc/passwd": b"root:x:0:0:root:/:/bin/sh\npostgres:x:999:999:postgres:/:/bin/sh\n",
    "etc/caddy/Caddyfile": b":80 {\n\trespond ok\n}\n",
}
_ENVIRONMENT = "ENV PATH=/bin XDG_DATA_HOME=/data XDG_CONFIG_HOME=/config"


def load_into(bed: DockerBed) -> None:
    """Load both images into a bed."""
    for name, (program, command) in _IMAGES.items():
        changes = [f"--change={change}" for change in (command, _ENVIRONMENT)]
        bed.docker("import", *changes, "-", name, stdin=_root(program))


def libraries(program: Path) -> dict[str, Path]:
    """Return the libraries that a program needs, by their paths."""
    needed = subprocess.run(["ldd", program], capture_output=True, text=True, timeout=30, check=True).stdout
    return {library: Path(library) for library in _LIBRARY.findall(needed)}


def _root(program: str) -> bytes:
    path = Path(shutil.which(program, path=_SEARCHED) or program)
    return root({**libraries(path), f"/bin/{program}": path})


def root(files: Mapping[str, Path]) -> bytes:
    """Return a tar with these files and folders by their paths in it, and busybox."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", dereference=True) as tar:
        for target, source in {**files, "/bin/busybox": BUSYBOX}.items():
            tar.add(source, target.lstrip("/"))
        for applet in APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for name, content in _FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()
