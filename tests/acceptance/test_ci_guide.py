"""docs/how-to/ci.md, line by line, against a live server: a script fails when, and only when, the redeploy did."""

import json
import re
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import yaml

from tests.acceptance.console import Console
from tests.support.documentation import blocks
from tests.support.guards import require_programs
from tests.support.programs import running
from tests.support.server import LIMIT_S
from tests.support.waiting import wait_until

CI_GUIDE = Path(__file__).parents[2].joinpath("docs/how-to/ci.md").read_text(encoding="utf-8")


def url_of_new(console: Console, service: str, name: str, *options: str) -> str:
    """Return the URL of a new handler."""
    console.hook("create", service, "-n", name, *options)
    return console.hook("show", service, name, "--url").strip()


@pytest.mark.slow
def test_curl_fails_when_and_only_when_the_redeploy_does(
    console: Console, breakable: tuple[str, Path], tmp_path: Path
) -> None:
    require_programs("curl")
    service, broken = breakable
    url = url_of_new(console, service, "ci", "--filter", "headers.\"x-skip\" != 'yes'")
    lines = re.findall(r'^curl .*"\$TUTUM_URL\?wait=300"$', CI_GUIDE, re.MULTILINE)
    assert len(lines) == 3

    def run(line: str, **variables: str) -> int:
        environment = console.server.client_environment | {"TUTUM_URL": url, "CI_JOB_ID": line[:20]} | variables
        return subprocess.run(
            ["sh", "-euc", line], env=environment, capture_output=True, timeout=LIMIT_S, check=False
        ).returncode

    assert [run(line) for line in lines] == [0, 0, 0]
    assert run(lines[0].replace("-X POST", "-X POST -H 'X-Skip: yes'")) == 0
    broken.touch()
    try:
        assert [run(line) for line in lines[:2]] == [22, 22]
        assert run(lines[0].replace("-X POST", "-X POST -H 'X-Skip: yes'")) == 0
    finally:
        broken.unlink()
    assert run(lines[0], TUTUM_URL=url.replace("/call/", "x/call/")) == 22
    assert run(lines[0]) == 0
    console.hook("rm", service, "ci")


@pytest.mark.slow
def test_curl_repeats_a_call_with_a_key_as_the_guide_says(
    console: Console, breakable: tuple[str, Path], tmp_path: Path
) -> None:
    require_programs("curl")
    service, broken = breakable
    slow, gate = console.server.run_gated_service("slow")
    [line] = re.findall(r"^curl .*Idempotency-Key.*$", CI_GUIDE, re.MULTILINE)
    assert line.count("--retry 3") == line.count("wait=300") == 1

    def call(of: str, retry: str, wait: str) -> AbstractContextManager["subprocess.Popen[bytes]"]:
        environment = console.server.client_environment | {"CI_JOB_ID": of}
        environment["TUTUM_URL"] = url_of_new(console, of, "repeating")
        script = line.replace("--retry 3", f"--retry {retry} --retry-delay 1").replace("wait=300", f"wait={wait}")
        return running(["sh", "-euc", script], env=environment, stdout=subprocess.DEVNULL)

    def outcomes(of: str) -> list[str]:
        listed = json.loads(console.hook("deliveries", of, "repeating", "--json"))
        return [one["outcome"] for one in reversed(listed)]

    with call(slow, "1000", "1") as curl:
        wait_until(lambda: "repeated" in outcomes(slow), "it calls again")
        gate.touch()
        assert curl.wait(LIMIT_S) == 0
    first, *others = outcomes(slow)
    assert (first, set(others)) == ("queued", {"repeated"})  # one run, waited for again
    broken.touch()
    try:
        with call(service, "3", "300") as curl:
            assert curl.wait(LIMIT_S) == 22
        assert outcomes(service) == ["queued"] * 4  # what failed is not remembered
    finally:
        broken.unlink()


@pytest.mark.slow
def test_the_status_url_is_polled_as_the_guide_says(console: Console, breakable: tuple[str, Path]) -> None:
    require_programs("curl", "jq")
    service, _ = breakable
    url = url_of_new(console, service, "polled")
    block = next(block for block in re.findall(r"```sh\n(.*?)```", CI_GUIDE, re.DOTALL) if "status_url" in block)
    script = block.replace("https://hooks.example.com", console.server.url)
    subprocess.run(
        ["sh", "-euc", script], env=console.server.client_environment | {"TUTUM_URL": url}, timeout=LIMIT_S, check=True
    )
    console.hook("rm", service, "polled")


@pytest.mark.slow
def test_the_jobs_of_github_and_gitlab_call_as_the_guide_says(
    console: Console, breakable: tuple[str, Path], tmp_path: Path
) -> None:
    require_programs("curl")
    service, broken = breakable
    url = url_of_new(console, service, "jobs")
    read = [yaml.safe_load(block.text) for block in blocks("docs/how-to/ci.md") if block.language == "yaml"]
    github, gitlab = (each for each in read if isinstance(each, dict))
    steps = [step["run"] for step in github["jobs"]["deploy"]["steps"] if "run" in step] + gitlab["deploy"]["script"]
    assert len(steps) == 2

    def run(step: str, attempt: str) -> int:
        variables = {"TUTUM_URL": url, "GITHUB_RUN_ID": "7", "GITHUB_RUN_ATTEMPT": attempt, "CI_JOB_ID": attempt}
        return subprocess.run(
            ["sh", "-euc", step], env=console.server.client_environment | variables, timeout=LIMIT_S, check=False
        ).returncode

    assert [run(step, "1") for step in steps] == [0, 0]
    broken.touch()
    try:
        assert [run(step, "2") for step in steps] == [22, 22]
    finally:
        broken.unlink()
    console.hook("rm", service, "jobs")
