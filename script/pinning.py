"""What `script/pin` does: write the hashes of actions and images behind their tags, or name those that have none."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = (".github/workflows/*.yml", "action/*.yml", "deploy/**/*.yaml", "Dockerfile")
ACTION = re.compile(r"(?P<head>uses: )(?P<name>[\w.-]+/[\w./-]+)@(?P<hash>[0-9a-f]{40}(?= # ))?(?P<tag>(?: # )?\S+)")
IMAGE = re.compile(
    r"(?P<head>image: (?:\$\{\w+:-)?|^ARG BASE=)(?!ghcr\.io/tutumd/)(?P<name>[\w./-]+):(?P<tag>[\w.-]+)"
    r"(?P<hash>@sha256:[0-9a-f]{64})?",
    re.MULTILINE,
)


def main() -> int:
    """Pin everything; with `--check`, print what is not pinned and return 1 if there is anything."""
    if sys.argv[1:] == ["--check"]:
        problems = list(unpinned())
        print("\n".join(problems), end="\n" if problems else "")
        return 1 if problems else 0
    for path in paths():
        before = path.read_text(encoding="utf-8")
        after = IMAGE.sub(pin_image, ACTION.sub(pin_action, before))
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(f"script/pin: {path.relative_to(ROOT)} was changed")
    return 0


def paths() -> Iterator[Path]:
    """Yield the files that name actions and images."""
    for pattern in FILES:
        yield from sorted(ROOT.glob(pattern))


def unpinned() -> Iterator[str]:
    """Yield where an action or an image of another project is named without its hash."""
    for path in paths():
        text = path.read_text(encoding="utf-8")
        for found in (*ACTION.finditer(text), *IMAGE.finditer(text)):
            if not found["hash"]:
                line = text.count("\n", 0, found.start("name")) + 1
                yield f"{path.relative_to(ROOT)}:{line}: {found['name']} has no hash: run script/pin"


def pin_action(found: re.Match[str]) -> str:
    """Return the use of an action at the commit of its tag or branch, which follows as a comment."""
    tag = found["tag"].removeprefix(" # ")
    owner, repository = found["name"].split("/")[:2]
    references = [f"refs/tags/{tag}^{{}}", f"refs/tags/{tag}", f"refs/heads/{tag}"]
    told = run("git", "ls-remote", f"https://github.com/{owner}/{repository}", *references)
    commits = {name: commit for commit, _, name in (line.partition("\t") for line in told.splitlines())}
    commit = next((commits[name] for name in references if name in commits), "")
    if not re.fullmatch("[0-9a-f]{40}", commit):
        raise SystemExit(f"script/pin: {owner}/{repository} has no tag or branch {tag}")
    return f"{found['head']}{found['name']}@{commit} # {tag}"


def pin_image(found: re.Match[str]) -> str:
    """Return the name of an image with the digest of its tag, which is that of all platforms."""
    name = f"{found['name']}:{found['tag']}"
    digest = run("docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", name)
    if not re.fullmatch("sha256:[0-9a-f]{64}", digest):
        raise SystemExit(f"script/pin: the registry told no digest of {name}, but {digest!r}")
    return f"{found['head']}{name}@{digest}"


def run(*command: str) -> str:
    """Return what a program prints, stripped."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise SystemExit(f"script/pin: {' '.join(command[:3])} failed: {done.stderr.strip()}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
