"""What `script/release` does: hold the places that name the version against one another, build, and write the notes."""

import argparse
import hashlib
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import date
from email import message_from_string
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = "https://github.com/tutumd/tutumd"
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(rc[1-9]\d*)?")
NAMED = {
    "the image": re.compile(r"ghcr\.io/tutumd/tutumd:(v?\d[\w.-]*\w|latest)"),
    "the image's newTag": re.compile(r"(?:newName|name): ghcr\.io/tutumd/tutumd\s+newTag: [\"']?([\w.-]+)"),
    "the action": re.compile(r"tutumd/tutumd(?:/[\w-]+)?@v(\d[\w.-]*\w)"),
    "the package": re.compile(r"\btutumd(?:\[[\w,]+\])?==(\d[\w.]*\w)"),
    "the wheel": re.compile(r"\btutumd-(\d[\w.]*\w)-py3"),
    "the tag": re.compile(r"\btutumd/(?:blob|tree|releases/tag)/v(\d[\w.]*\w)"),
}
"""Where a version of ours stands in documentation and files to deploy."""
READ = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "UPGRADING.md", "CHANGELOG.md", "docs", "deploy", "action")
"""What users read or deploy."""
HISTORY = ("CHANGELOG.md", "UPGRADING.md", "docs/adr", "docs/how-to/release.md")
"""These may name other versions."""
_DAY = "YYYY-MM-DD"
UNRELEASED = ("not released yet", "not published yet", "Nothing has been released yet", "URL-OF-THIS-REPOSITORY")


def main() -> int:
    """Check, build and write what a release needs; return 1, and say what to do, if something does not fit."""
    parser = argparse.ArgumentParser(prog="script/release", description=__doc__, allow_abbrev=False)
    parser.add_argument("--tag", help="the tag that is released; it must be that of the version")
    parser.add_argument("--image", help="an image that Docker has, whose version is compared, too")
    parser.add_argument("--check", action="store_true", help="only check; build and write nothing")
    options = parser.parse_args()
    version, dist = read_version(), ROOT / "dist"
    problems = [*check_version(version, options.tag), *check_pages(version), *check_named_versions(version)]
    problems += [*check_pinned(), *check_git(version)]
    if options.image:
        problems += check_image(options.image, version, dist)
    if not problems and not options.check:
        wheel = build(dist)
        problems += check_wheel(wheel, version)
        (dist / f"tutumd-{version}-notes.md").write_text(notes(version), encoding="utf-8")
        write_checksums(dist, version)
    for problem in problems:
        print(f"script/release: {problem}", file=sys.stderr)
    if problems:
        print(f"script/release: {version} is not ready: {len(problems)} to mend", file=sys.stderr)
        return 1
    print(f"script/release: {version} is ready" + ("" if options.check else "; its files are in dist/"))
    return 0


def read_version() -> str:
    """Return the version of the source, which every other place must name."""
    found = re.search(r'^__version__ = "(.*)"$', (ROOT / "src/tutum/version.py").read_text(), re.MULTILINE)
    return found[1] if found else ""


def check_version(version: str, tag: str | None) -> Iterator[str]:
    """Yield what is wrong with the version itself, or with the tag."""
    if not VERSION.fullmatch(version):
        yield f"src/tutum/version.py: the version must be like 1.2.3 or 1.2.3rc1, got {version!r}"
    if tag is not None and tag != f"v{version}":
        yield f"the tag must be v{version}, got {tag}: change src/tutum/version.py, or tag that commit as v{version}"


def check_pages(version: str) -> Iterator[str]:
    """Yield what is wrong in the changelog, in UPGRADING.md, and where a page says that nothing is released."""
    changelog = _read("CHANGELOG.md")
    sections = re.findall(r"^## (.+)$", changelog, re.MULTILINE)
    unreleased = _section(changelog, "Unreleased").strip()
    if unreleased:
        yield f"CHANGELOG.md: there are entries under Unreleased: move them below a line ## {version} - {_DAY}"
    newest = next((section for section in sections if section != "Unreleased"), "none")
    name, _, day = newest.partition(" - ")
    if name != version:
        yield f"CHANGELOG.md: the newest version must be {version}, got {name}: it needs a line ## {version} - {_DAY}"
    elif not _is_date(day):
        yield f"CHANGELOG.md: {version} needs its date, as in ## {version} - {_DAY}, got {day!r}"
    elif not _section(changelog, newest).strip():
        yield f"CHANGELOG.md: {version} has no entries"
    row = re.search(r"^\| (\d\S*)", _read("UPGRADING.md"), re.MULTILINE)
    if row is None or row[1] != version:
        yield f"UPGRADING.md: the first row of the table must be of {version}, got {row[1] if row else 'none'}"
    for path, text in _texts():
        for number, line in enumerate(text.splitlines(), 1):
            yield from (f"{path}:{number}: take out {phrase!r}" for phrase in UNRELEASED if phrase in line)


def check_named_versions(version: str) -> Iterator[str]:
    """Yield where documentation or a file to deploy names another version of ours."""
    for path, text in _texts():
        if path.startswith(HISTORY):
            continue
        for what, pattern in NAMED.items():
            for found in pattern.finditer(text):
                if found[1] != version:
                    line = text.count("\n", 0, found.start(1)) + 1
                    yield f"{path}:{line}: {what} must be of {version}, got {found[1]}"


def check_pinned() -> list[str]:
    """Return where an action or an image of another project is named without its hash, as `script/pin --check` does."""
    command = [sys.executable, str(ROOT / "script" / "pinning.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return (done.stdout + done.stderr).splitlines()


def check_git(version: str) -> Iterator[str]:
    """Yield what in the repository does not fit a release of what is committed."""
    if not (ROOT / ".git").exists():
        return
    if changed := _git("status", "--porcelain"):
        yield f"commit first: {len(changed.splitlines())} files differ from the last commit, as {changed.split()[-1]}"
    tagged = _git("rev-parse", "--quiet", "--verify", f"refs/tags/v{version}^{{commit}}")
    if tagged and tagged != _git("rev-parse", "HEAD"):
        yield f"the tag v{version} is on another commit: choose the next version in src/tutum/version.py"


def check_image(image: str, version: str, dist: Path) -> Iterator[str]:
    """Yield where an image or the list of its packages is of another version."""
    build_it = "build it with script/image"
    command = ["docker", "image", "inspect", "--format", "{{json .Config.Labels}}", image]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if shown.returncode != 0:
        yield f"Docker has no image {image}: {build_it} ({shown.stderr.strip()})"
        return
    labelled = (json.loads(shown.stdout) or {}).get("org.opencontainers.image.version")
    if labelled != version:
        yield f"the image {image} must be of {version}, got {labelled}: {build_it}"
    listed = dist / f"tutumd-{version}-image.cdx.json"
    if not listed.exists():
        yield f"the list of the image's packages is missing, {listed.relative_to(ROOT)}: {build_it}"
    elif (found := json.loads(listed.read_text())["metadata"]["component"].get("version")) != version:
        yield f"{listed.relative_to(ROOT)} must be of {version}, got {found}: {build_it}"


def build(dist: Path) -> Path:
    """Build wheel and source distribution without a network, and return the path of the wheel."""
    for old in [*dist.glob("tutumd-*.whl"), *dist.glob("tutumd-*.tar.gz"), *dist.glob("*-notes.md")]:
        old.unlink()
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(dist)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise SystemExit(f"script/release: the wheel cannot be built: {done.stderr}")
    (wheel,) = dist.glob("tutumd-*.whl")
    return wheel


def check_wheel(wheel: Path, version: str) -> Iterator[str]:
    """Yield what in the wheel is not of this version."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        metadata = message_from_string(archive.read(name).decode())
    if metadata["Version"] != version:
        yield f"{wheel.name} must be of {version}, got {metadata['Version']}: pyproject.toml reads src/tutum/version.py"


def notes(version: str) -> str:
    """Return the text of the release: the section of the changelog, with links that work outside of the repository."""
    changelog = _read("CHANGELOG.md")
    heading = next(line for line in re.findall(r"^## (.+)$", changelog, re.MULTILINE) if line.startswith(version))
    text = re.sub(r"\]\((?!https?://|#)([^)]+)\)", rf"]({PROJECT}/blob/v{version}/\1)", _section(changelog, heading))
    install = f"    pipx install 'tutumd[server]=={version}'\n    docker pull ghcr.io/tutumd/tutumd:{version}\n"
    upgrade = f"Before you upgrade, read [UPGRADING.md]({PROJECT}/blob/v{version}/UPGRADING.md)."
    return f"{install}\n{upgrade}\n\n{text.strip()}\n"


def write_checksums(dist: Path, version: str) -> None:
    """Write SHA256SUMS, which `sha256sum --check` reads, of all files of this version."""
    files = sorted(path for path in dist.glob(f"tutumd-{version}*") if not path.name.endswith("-notes.md"))
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (dist / "SHA256SUMS").write_text("".join(lines))


def _section(text: str, heading: str) -> str:
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def _is_date(text: str) -> bool:
    try:
        return str(date.fromisoformat(text)) == text
    except ValueError:
        return False


def _read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _texts() -> Iterator[tuple[str, str]]:
    """Yield path and text of every file that users read or deploy."""
    for name in READ:
        top = ROOT / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and path.suffix not in (".png", ".svg"):
                yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
