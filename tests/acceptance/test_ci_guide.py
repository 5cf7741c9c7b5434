"""docs/how-to/ci.md, line by line, against a live server: a script fails when, and only when, the redeploy did."""

import json
import re
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import yaml

from tests.acceptance.console import Console
from tests.acceptance.guide import Guide
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
def test_each_script_fails_when_and_only_when_the_redeploy_does(console: Console, breakable: tuple[str, Path]) -> None:
    require_programs("curl")
    service, broken = breakable
    url = url_of_new(console, service, "ci", "--filter", "headers.\"x-skip\" != 'yes'")
    lines = re.findall(r'^curl .*"\$TUTUM_URL\?wait=300"$', CI_GUIDE, re.MULTILINE)
    read = [yaml.safe_load(block.text) for block in blocks("docs/how-to/ci.md") if block.language == "yaml"]
    github, gitlab = (each for each in read if isinstance(each, dict))
    steps = [step["run"] for step in github["jobs"]["deploy"]["steps"] if "run" in step] + gitlab["deploy"]["script"]
    assert (len(lines), len(steps)) == (3, 2)

    def run(line: str, attempt: str, url: str = url) -> int:
        variables = {"TUTUM_URL": url, "GITHUB_RUN_ID": "7", "GITHUB_RUN_ATTEMPT": attempt, "CI_JOB_ID": attempt}
        environment = console.server.client_environment | variables
        return subprocess.run(
            ["sh", "-euc", line], env=environment, capture_output=True, timeout=LIMIT_S, check=False
        ).returncode

    skipped = lines[0].replace("-X POST", "-X POST -H 'X-Skip: yes'")
    assert [run(line, "1") for line in [*lines, *steps, skipped]] == [0] * 6
    broken.touch()
    try:
        assert [run(line, "2") for line in [*lines[:2], *steps]] == [22] * 4
        assert run(skipped, "2") == 0
    finally:
        broken.unlink()
    assert run(lines[0], "3", url.replace("/call/", "x/call/")) == 22
    assert run(lines[0], "3") == 0
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
def test_the_status_url_is_polled_and_the_other_commands_work(
    console: Console, breakable: tuple[str, Path], tmp_path: Path
) -> None:
    require_programs("curl", "jq")
    service, _ = breakable
    url = url_of_new(console, service, "polled", "--tag", "v*")
    (tmp_path / "push.json").write_text('{"ref": "refs/heads/main"}')
    environment = console.server.client_environment | {"TUTUM_URL": url, "VERSION": "v2"}
    here = {"SERVICE HANDLER": f"{service} polled", "web ci": f"{service} polled"}
    guide = Guide("docs/how-to/ci.md", tmp_path, environment, here)
    guide.run("server=")
    guide.run("tutum webhook-handler call")
    assert "tag" in guide.run('curl -sS --fail-with-body -X POST "$TUTUM_URL?tag=$VERSION', code=22)  # `local` has none
    guide.run("tutum webhook-handler test")
    console.hook("rm", service, "polled")
