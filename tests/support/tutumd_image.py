"""The image of tutumd as `script/image` builds it, on a Debian base, without any network."""

import hashlib
import os
import subprocess
from functools import cache
from pathlib import Path

from tests.support import base_image
from tests.support.docker_bed import DockerBed
from tests.support.machine_cache import made_once
from tests.support.wheelhouse import wheels

TAG = "tutumd:test"
_ROOT = Path(__file__).parents[2]
_SOURCES = (
    "Dockerfile",
    ".dockerignore",
    "LICENSE",
    "README.md",
    "deploy/compose",
    "pyproject.toml",
    "requirements/all.lock",
    "requirements/build.lock",
    "script/image",
    "src",
    "tests/support/base_image.py",
)


def load_into(bed: DockerBed) -> str:
    """Load the image of this checkout into a bed, and return its tag. It is built once for each state of the sources.

    The first call on a machine takes some minutes: it makes the base and downloads the wheels.
    """
    with (built(bed) / "image.tar").open("rb") as archive:
        _docker(bed, "load", "--quiet", archive=archive.fileno())
    return TAG


def built(bed: DockerBed) -> Path:
    """Return the folder of the built image: `image.tar`, its SBOM `image.cdx.json`, and the builder's `build.log`.

    Args:
        bed: Builds it where that has not been done yet, with what `DOCKER_BUILDKIT` says.
    """
    base, folder = base_image.base_archive(), wheels(base_image.PYTHON, "all", "build")
    return made_once("image", _digest(), lambda made: _build(made, bed, base, folder))


def load_base_into(bed: DockerBed) -> str:
    """Load the base alone, and return its tag: Debian with Python."""
    with base_image.base_archive().open("rb") as archive:
        _docker(bed, "import", "-", "base:test", archive=archive.fileno())
    return "base:test"


def _build(made: Path, bed: DockerBed, base: Path, folder: Path) -> None:
    base_tag = load_base_into(bed)
    sbom = f"{made}/image.cdx.json"
    command = ["script/image", "--base", base_tag, "--wheels", str(folder), "--tag", TAG, "--sbom", sbom]
    with (made / "build.log").open("wb") as log:
        done = subprocess.run(
            command, cwd=_ROOT, env=bed.environment, stdout=log, stderr=subprocess.STDOUT, timeout=900, check=False
        )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}: {_end_of(made / 'build.log')}")
    bed.docker("save", "--output", f"{made}/image.tar", TAG, timeout_s=300)
    bed.docker("rmi", TAG, base_tag)


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]


def _docker(bed: DockerBed, *arguments: str, archive: int) -> None:
    done = subprocess.run(
        ["docker", *arguments], env=bed.environment, stdin=archive, capture_output=True, timeout=300, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"docker {' '.join(arguments)} exited with {done.returncode}: {done.stderr.decode()}")


@cache
def _digest() -> str:
    """Return what the image depends on, in short: as it is at the first call, also if somebody edits it meanwhile."""
    digest = hashlib.sha256()
    for source in _SOURCES:
        path = _ROOT / source
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(_ROOT)} {os.access(file, os.X_OK)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]
