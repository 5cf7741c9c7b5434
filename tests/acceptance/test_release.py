"""`script/release` on a copy of this tree: what is ready passes, and a wrong version is found wherever it stands."""

import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tutum.version import __version__

ROOT = Path(__file__).parents[2]
IMAGES = re.compile(r"((?:image: \S*|ARG BASE=)\b(?:caddy|haproxy|postgres|python):[\w.-]+)(@sha256:[0-9a-f]{64})?")
PARTS = ("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md", "UPGRADING.md", "pyproject.toml")
FOLDERS = (".github", "action", "deploy", "docs", "script", "src")
WRONG = {
    "the version": ("src/tutum/version.py", '__version__ = "{version}"', '__version__ = "9.9.9"', "must be 9.9.9"),
    "changelog": ("CHANGELOG.md", "## {version} - ", "## 9.9.9 - ", "the newest version must be {version}, got 9.9.9"),
    "still unreleased": (
        "CHANGELOG.md",
        "## {version}",
        "## Unreleased\n\n- More.\n\n## {version}",
        "under Unreleased",
    ),
    "upgrading": ("UPGRADING.md", "| {version} |", "| 9.9.9 |", "the first row of the table must be of {version}"),
    "image in a guide": (
        "docs/how-to/install.md",
        "tutumd:{version}",
        "tutumd:9.9.9",
        "must be of {version}, got 9.9.9",
    ),
    "an action by its tag": (
        ".github/workflows/ci.yml",
        "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683 # ",
        "actions/checkout@",
        ".github/workflows/ci.yml:25: actions/checkout has no hash: run script/pin",
    ),
    "an image by its tag": (
        "deploy/compose/compose.yaml",
        f"caddy:2@sha256:{'0' * 64}",
        "caddy:2",
        "deploy/compose/compose.yaml:29: caddy has no hash: run script/pin",
    ),
    "a guide of before": ("README.md", "# tutumd", "# tutumd, not released yet", "README.md:1: take out"),
}


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this tree in which the steps of a release were done, and committed."""
    copy = tmp_path_factory.mktemp("release") / "tutumd"
    copy.mkdir()
    for name in (*PARTS, "Dockerfile"):
        shutil.copy(ROOT / name, copy)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    changelog = copy / "CHANGELOG.md"
    text = changelog.read_text()
    if "\n## Unreleased\n" in text and f"\n## {__version__} - " not in text:
        changelog.write_text(text.replace("\n## Unreleased\n", f"\n## {__version__} - 2026-11-26\n"))
    for page in [*copy.glob("*.md"), *copy.glob("docs/**/*.md")]:
        # A paragraph that nothing is released, or a few words in a table.
        text = re.sub(r" \(not released yet\)", "", page.read_text())
        text = re.sub(r"^[^\n]*(not published yet|Nothing has been released yet)[^\0]*?\n\n", "", text, flags=re.M)
        page.write_text(text.replace("URL-OF-THIS-REPOSITORY", "https://github.com/tutumd/tutumd"))
    for file in [*copy.glob("deploy/**/*.yaml"), copy / "Dockerfile"]:  # as script/pin does
        file.write_text(IMAGES.sub(rf"\1@sha256:{'0' * 64}", file.read_text()))
    (copy / ".gitignore").write_text("dist/\n__pycache__/\n")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "Release"]):
        git(copy, *command)
    return copy


@pytest.fixture
def tree(ready: Path) -> Iterator[Path]:
    """That copy, for one test."""
    yield ready
    git(ready, "reset", "--quiet", "--hard")
    git(ready, "clean", "-ffdxq")


def git(copy: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Tests", "-c", "user.email=tests@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=copy, check=True, capture_output=True, timeout=240)


def release(tree: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "script/releasing.py", *options],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_what_is_ready_is_built_with_notes_and_checksums(tree: Path) -> None:
    done = release(tree, "--tag", f"v{__version__}")
    assert (done.returncode, done.stderr) == (0, "")
    names = {path.name for path in (tree / "dist").iterdir()}
    wheel, source = f"tutumd-{__version__}-py3-none-any.whl", f"tutumd-{__version__}.tar.gz"
    assert names == {wheel, source, f"tutumd-{__version__}-notes.md", "SHA256SUMS"}
    digests = {name: hashlib.sha256((tree / "dist" / name).read_bytes()).hexdigest() for name in (wheel, source)}
    sums = [line.split() for line in (tree / "dist/SHA256SUMS").read_text().splitlines()]
    assert {name: digest for digest, name in sums} == digests
    text = (tree / "dist" / f"tutumd-{__version__}-notes.md").read_text()
    assert f"pipx install 'tutumd[server]=={__version__}'" in text
    assert "### Added" in text
    assert not re.search(r"\]\((?!https://)", text)
    with zipfile.ZipFile(tree / "dist" / wheel) as archive:
        assert f"tutumd-{__version__}.dist-info/METADATA" in archive.namelist()


@pytest.mark.slow
def test_the_same_commit_gives_the_same_wheel(tree: Path) -> None:
    release(tree)
    first = (tree / "dist/SHA256SUMS").read_text()
    release(tree)
    assert (tree / "dist/SHA256SUMS").read_text() == first


@pytest.mark.slow
@pytest.mark.parametrize(("name", "right", "wrong", "told"), WRONG.values(), ids=WRONG)
def test_a_wrong_version_is_refused_where_it_stands(tree: Path, name: str, right: str, wrong: str, told: str) -> None:
    path = tree / name
    before = path.read_text()
    changed = before.replace(right.replace("{version}", __version__), wrong.replace("{version}", __version__))
    assert changed != before
    path.write_text(changed)
    git(tree, "add", ".")
    done = release(tree)
    assert done.returncode == 1
    assert told.replace("{version}", __version__) in done.stderr
    assert not (tree / "dist").exists()


@pytest.mark.parametrize(
    "text",
    [
        "image: ghcr.io/tutumd/tutumd:9.9.9",
        "- uses: tutumd/tutumd/action@v9.9.9",
        "pipx install 'tutumd[server]==9.9.9'",
    ],
)
def test_another_version_in_a_file_to_deploy_is_found(tree: Path, text: str) -> None:
    (tree / "deploy" / "new.yaml").write_text(f"# A file.\n{text}\n")
    git(tree, "add", ".")
    assert re.search(
        r"deploy/new\.yaml:[23]: the .* must be of .*, got (9\.9\.9|latest)", release(tree, "--check").stderr
    )


def test_a_wrong_tag_and_what_is_not_committed_are_refused(tree: Path) -> None:
    (tree / "README.md").write_text((tree / "README.md").read_text() + "\nMore.\n")
    done = release(tree, "--check", "--tag", "v9.9.9")
    assert f"the tag must be v{__version__}, got v9.9.9" in done.stderr
    assert "commit first: 1 files differ from the last commit, as README.md" in done.stderr


def test_each_file_of_this_tree_names_this_version_and_hashes_of_others() -> None:
    """The rest of what `script/release` asks for is done at a release."""
    found = release(ROOT, "--check").stderr.splitlines()
    assert not [line for line in found if " must be of " in line or "has no hash" in line]


def test_actions_and_images_are_pinned_at_what_their_tags_stand_for(tree: Path, tmp_path: Path) -> None:
    commit, digest = "5" * 40, f"sha256:{'7' * 64}"
    refs = f'printf "{"4" * 40}\\trefs/tags/v9\\n{commit}\\trefs/tags/v9^{{}}\\n"'
    for program, answer in (("git", refs), ("docker", f"echo {digest}")):
        (tmp_path / program).write_text(f"#!/bin/sh\n{answer}\n")
        (tmp_path / program).chmod(0o755)
    workflow, compose = tree / ".github/workflows/new.yml", tree / "deploy" / "new.yaml"
    old = "1" * 40
    workflow.write_text(f"- uses: a/b@v9\n- uses: a/b/c@{old} # v9\n- uses: ./.github/workflows/ci.yml\n")
    compose.write_text("a:\n  image: ${A_IMAGE:-host.example/a:1}\nb:\n  image: ghcr.io/tutumd/tutumd:0.1.0\n")
    pin = [sys.executable, "script/pinning.py"]
    listed = subprocess.run([*pin, "--check"], cwd=tree, capture_output=True, text=True, check=False)
    assert listed.returncode == 1
    assert listed.stdout.splitlines() == [
        ".github/workflows/new.yml:1: a/b has no hash: run script/pin",
        "deploy/new.yaml:2: host.example/a has no hash: run script/pin",
    ]
    for pattern in (".github/workflows/*.yml", "deploy/**/*.yaml", "Dockerfile"):
        for path in set(tree.glob(pattern)) - {workflow, compose}:
            path.unlink()
    subprocess.run(pin, cwd=tree, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True, capture_output=True)
    assert workflow.read_text() == (
        f"- uses: a/b@{commit} # v9\n- uses: a/b/c@{commit} # v9\n- uses: ./.github/workflows/ci.yml\n"
    )
    assert f"${{A_IMAGE:-host.example/a:1@{digest}}}" in compose.read_text()
    assert "ghcr.io/tutumd/tutumd:0.1.0\n" in compose.read_text()
    assert subprocess.run([*pin, "--check"], cwd=tree, check=False).returncode == 0
