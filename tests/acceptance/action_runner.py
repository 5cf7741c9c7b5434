"""Runs the step of action/action.yml as a runner of GitHub Actions does."""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.server import LIMIT_S

ACTION = Path(__file__).parents[2] / "action"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a step left.

    Attributes:
        log: As people see it: without the lines that mask secrets, and with the secrets masked.
        raw: What it printed.
    """

    code: int
    log: str
    raw: str
    masked: list[str]
    outputs: Mapping[str, str]
    summary: str


def manifest() -> dict[str, Any]:
    """Return action.yml."""
    return dict(yaml.safe_load((ACTION / "action.yml").read_text(encoding="utf-8")))


def start(folder: Path, inputs: Mapping[str, str], **variables: str) -> "subprocess.Popen[str]":
    """Start the step with these inputs. `finish` waits for its end."""
    action = manifest()
    [step] = action["runs"]["steps"]
    assert "${{" not in step["run"], "an input would become a part of the script"
    assert step["shell"] == "bash"
    values = {name: str(entry.get("default", "")) for name, entry in action["inputs"].items()} | dict(inputs)

    def evaluate(text: str) -> str:
        return re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda match: values[match[1]], text)

    folder.mkdir(parents=True, exist_ok=True)
    for name in ("output", "summary"):
        (folder / name).touch()
    temporary = folder / "temp"
    temporary.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GITHUB_ACTION_PATH": str(ACTION),
        "GITHUB_ACTION": "__tutumd_tutumd",
        "GITHUB_JOB": "deploy",
        "GITHUB_RUN_ID": folder.name,
        "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
        "RUNNER_TEMP": str(temporary),
        **{name: evaluate(value) for name, value in step["env"].items()},
        **variables,
    }
    return subprocess.Popen(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(folder: Path, process: "subprocess.Popen[str]") -> Ran:
    """Wait for the end of a step, and return what it left."""
    raw, _ = process.communicate(timeout=LIMIT_S)
    assert list((folder / "temp").iterdir()) == [], "the step left files behind"
    masked = re.findall(r"^::add-mask::(.+)$", raw, re.MULTILINE)
    log = re.sub(r"^::add-mask::.*\n", "", raw, flags=re.MULTILINE)
    for secret in masked:
        log = log.replace(secret, "***")
    outputs = re.findall(r"^(\w+)<<(\S+)\n(.*?)\n\2$", (folder / "output").read_text(), re.MULTILINE | re.DOTALL)
    return Ran(
        code=process.returncode,
        log=log,
        raw=raw,
        masked=masked,
        outputs={name: value for name, _, value in outputs},
        summary=(folder / "summary").read_text(),
    )


def run(folder: Path, inputs: Mapping[str, str], **variables: str) -> Ran:
    """Run the step to its end."""
    return finish(folder, start(folder, inputs, **variables))
