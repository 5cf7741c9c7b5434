"""The files that `script/vendor` writes from npm packages."""

import base64
import hashlib
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "src/tutumd/web/pages/static/vendor"


def main() -> int:
    """Fetch each package, compare its hash, and write its files. Return 1 if one differs from `vendor.toml`."""
    wrong = []
    for package in tomllib.loads((FOLDER / "vendor.toml").read_text(encoding="utf-8"))["package"]:
        with tempfile.TemporaryDirectory() as folder:
            tarball = fetch(f"{package['name']}@{package['version']}", Path(folder))
            found = "sha512-" + base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
            if found != package["integrity"]:
                wrong.append(f"{package['name']}: integrity is {found}, and vendor.toml has {package['integrity']}")
                continue
            wrong += [change for change in write_files(package, tarball) if change]
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return 1 if wrong else 0


def fetch(package: str, folder: Path) -> Path:
    """Return the tarball of a package, as npm's registry has it. No script of the package is run."""
    subprocess.run(
        ["npm", "pack", "--silent", "--ignore-scripts", package], cwd=folder, check=True, capture_output=True
    )
    return next(folder.glob("*.tgz"))


def write_files(package: dict[str, Any], tarball: Path) -> list[str]:
    """Write the files of a package, and return what is not as `vendor.toml` says."""
    with tarfile.open(tarball) as archive:

        def read(path: str) -> bytes:
            file = archive.extractfile(f"package/{path}")
            assert file is not None
            return file.read()

        changes = [write(each, read(each["source"])) for each in package.get("file", ())]
        if sprite := package.get("sprite"):
            icons = {name: read(f"icons/{name}.svg").decode() for name in sprite["icons"]}
            changes.append(write(sprite, draw_sprite(package, icons).encode()))
    return changes


def write(file: dict[str, Any], content: bytes) -> str:
    """Write a file, and return what to correct in `vendor.toml`; empty if nothing."""
    (FOLDER / file["path"]).write_bytes(content)
    found = hashlib.sha256(content).hexdigest()
    return "" if found == file["sha256"] else f"{file['path']}: sha256 is {found}, and vendor.toml has {file['sha256']}"


def draw_sprite(package: dict[str, Any], icons: dict[str, str]) -> str:
    """Return one SVG file with a symbol for each icon. Colour and width of the lines come from the page."""
    symbols = []
    for name, svg in icons.items():
        drawing = " ".join(svg.partition("<svg")[2].partition(">")[2].rpartition("</svg>")[0].split())
        symbols.append(f'<symbol id="{name}" viewBox="0 0 24 24">{drawing.replace(" />", "/>")}</symbol>')
    source = f"<!-- {package['name']} {package['version']}, {package['licence']}: see lucide.LICENSE -->"
    return "\n".join(['<svg xmlns="http://www.w3.org/2000/svg">', source, *symbols, "</svg>", ""])


if __name__ == "__main__":
    sys.exit(main())
