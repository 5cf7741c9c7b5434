"""The wheels of the lock files, downloaded once for each lock and Python version, and the wheel of this checkout."""

import hashlib
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.machine_cache import made_once
from tests.support.programs import check

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "requirements"


def wheels(python: str, *locks: str) -> Path:
    """Return a folder with the wheels that these lock files name, for one version of Python on this machine.

    Args:
        python: Such as `3.13`.
        locks: Names of files in `requirements`, such as `all`.
    """
    files = [LOCKS / f"{lock}.lock" for lock in locks]
    digest = hashlib.sha256(python.encode() + b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    return made_once("wheels", digest, lambda folder: _download(folder, python, files))


def _download(folder: Path, python: str, files: Sequence[Path]) -> None:
    # The newest glibc of a platform tag says nothing about older ones (PEP 600), so that each is named.
    machine = platform.machine()
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(5, 42)] + [f"manylinux2014_{machine}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    command += ["--no-deps", "--only-binary=:all:", f"--python-version={python}", f"--dest={folder}"]
    command += [f"--platform={name}" for name in platforms]
    command += [f"--requirement={file}" for file in files]
    check(command, timeout_s=1500)


def build_wheel(folder: Path, root: Path = ROOT) -> Path:
    """Build the wheel into a folder, without any network, and return its path."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    check([*command, "--wheel-dir", folder, root])
    (wheel,) = folder.glob("tutumd-*.whl")
    return wheel
