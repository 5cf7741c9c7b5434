"""A Debian base with Python for images, made by debootstrap from the packages that this machine's apt has."""

import hashlib
import re
from pathlib import Path

from tests.support.guards import lacking
from tests.support.machine_cache import made_once
from tests.support.programs import check

SUITE = "trixie"
PYTHON = "3.13"
"""The Python of that release of Debian."""
_PACKAGES = ("python3", "ca-certificates")
_LEFT_OUT = (
    "var/cache/apt/*",
    "var/lib/apt/lists/*",
    "usr/share/doc/*",
    "usr/share/man/*",
    "usr/share/locale/*",
    "dev/*",
)


def base_archive() -> Path:
    """Return a tar of the root of the base, for `docker import`."""
    key = hashlib.sha256(repr((SUITE, _PACKAGES, _LEFT_OUT)).encode()).hexdigest()[:12]
    return made_once("base", key, _make) / "base.tar"


def _make(folder: Path) -> None:
    root = folder / "root"
    # In namespaces of its own, which end with the test run if that is killed: nothing stays mounted.
    own = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    include = f"--include={','.join(_PACKAGES)}"
    check([*own, "debootstrap", "--variant=minbase", include, SUITE, str(root), _mirror()], timeout_s=1500)
    left_out = [f"--exclude=./{each}" for each in _LEFT_OUT]
    check(["tar", "--create", f"--file={folder}/base.tar", f"--directory={root}", *left_out, "."], timeout_s=1500)
    check(["rm", "-r", "--one-file-system", str(root)])


def _mirror() -> str:
    """Return where apt gets Debian's packages from."""
    listed = check(["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"])
    found = re.findall(rf"^(https?://\S+) {SUITE}$", listed, re.MULTILINE)
    if not found:
        lacking(f"this test needs apt with the packages of Debian {SUITE}: apt-get update")
    return str(found[0])
