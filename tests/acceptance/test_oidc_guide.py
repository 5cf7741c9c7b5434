"""The commands and jobs of docs/how-to/oidc.md, with a server that allows an issuer of the tests."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance import action_runner
from tests.acceptance.console import Console
from tests.acceptance.guide import Guide
from tests.support.documentation import blocks
from tests.support.guards import require_programs
from tests.support.job_issuer import JobIssuer, job_issuer
from tests.support.server import LIMIT_S, LiveServer, free_port
from tests.support.waiting import wait_until

PAGE = "docs/how-to/oidc.md"
EXAMPLE = "https://hooks.example.com/api/v1/service/SERVICE/webhook/handler/HANDLER/call/"
NAMES = ("github", "gitlab", "forgejo")


@pytest.fixture(scope="module")
def issuer() -> Iterator[JobIssuer]:
    with job_issuer() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def server(issuer: JobIssuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    issuers = (word for name in NAMES for word in ("--oidc-issuer", f"{name}={issuer.url(name)}"))
    port = free_port()
    options = (
        "--engine",
        "local",
        "--notify-allow",
        "127.0.0.0/8",
        "--public-url",
        f"http://127.0.0.1:{port}",
        *issuers,
    )
    with LiveServer(tmp_path_factory.mktemp("server"), *options, port=port) as live:
        live.run_service("web")
        yield live


@pytest.fixture
def guide(server: LiveServer, issuer: JobIssuer, tmp_path: Path) -> Guide:
    here = {f"--issuer {name}": f"--issuer {issuer.url(name)}" for name in ("github", "gitlab")}
    here["https://git.example.com/api/actions"] = issuer.url("forgejo")
    return Guide(PAGE, tmp_path, server.client_environment, here)


def jobs_of_page(url: str, server: LiveServer) -> dict[str, Any]:
    """Return the jobs of the page for a handler, by issuer."""
    texts = [block.text for block in blocks(PAGE) if block.language == "yaml"]
    read = [
        yaml.safe_load(text.replace(EXAMPLE, url).replace("https://hooks.example.com", server.url)) for text in texts
    ]
    jobs = [next(iter(document.get("jobs", document).values())) for document in read]
    return dict(zip(("github", "gitlab", "forgejo"), jobs, strict=True))


def run_job(name: str, job: Any, issuer: JobIssuer, folder: Path) -> tuple[int, str]:
    """Run a job as its runner does. Return its exit code and what it printed."""
    if name == "github":
        assert job["permissions"] == {"id-token": "write"}
        inputs = {key: str(value).lower() if value is True else value for key, value in job["steps"][0]["with"].items()}
        ran = action_runner.run(folder, inputs, **issuer.variables(name))
        return ran.code, ran.log
    variables = issuer.variables(name)
    if name == "gitlab":
        variables = {"TUTUM_TOKEN": issuer.token(name, job["id_tokens"]["TUTUM_TOKEN"]["aud"])}
    else:
        assert job["enable-openid-connect"] is True
    [script] = job["script"] if name == "gitlab" else [step["run"] for step in job["steps"]]
    environment = {"PATH": "/usr/bin:/bin", **variables}
    done = subprocess.run(
        ["sh", "-ec", script], env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_job_calls_without_a_secret(
    server: LiveServer, issuer: JobIssuer, guide: Guide, tmp_path: Path, name: str
) -> None:
    require_programs("bash", "curl")
    console = Console(server)
    guide.run(f"tutum webhook-handler create web -n {name}")
    url = console.hook("show", "web", name, "--url").strip()
    [printed] = yaml.safe_load(console.hook("show", "web", name, "--for", name)).values()
    wait_until(lambda: issuer.url(name) in issuer.fetched, "a notifier fetches the keys")
    for number, job in enumerate([jobs_of_page(url, server)[name], printed]):
        code, text = run_job(name, job, issuer, tmp_path / str(number))
        assert code == 0, text
    issuer.claims = {"project_path" if name == "gitlab" else "repository": "evil/shop"}
    try:
        code, text = run_job(name, printed, issuer, tmp_path / "evil")
    finally:
        issuer.claims = {}
    assert code != 0
    assert "the claim" in text and "does not match" in text
    assert "evil" not in text, "the caller learns no values"
    assert "evil/shop" in console.hook("deliveries", "web", name)
    outcomes = [each["outcome"] for each in json.loads(console.hook("deliveries", "web", name, "--json"))]
    assert outcomes == ["refused", "queued", "queued"]
    console.hook("rm", "web", name)


@pytest.mark.slow
def test_an_audience_of_its_own_and_a_token_that_is_used_twice(
    server: LiveServer, issuer: JobIssuer, guide: Guide, tmp_path: Path
) -> None:
    require_programs("bash", "curl")
    console = Console(server)
    guide.run("tutum webhook-handler create web -n github")
    url = console.hook("show", "web", "github", "--url").strip()
    guide.run("tutum webhook-handler set web github --audience my-deploys")
    inputs, variables = {"url": url, "oidc": "true"}, issuer.variables("github")
    refused = action_runner.run(tmp_path / "other", inputs, **variables)
    assert refused.code == 1 and "for another audience" in refused.log
    accepted = action_runner.run(tmp_path / "own", inputs | {"audience": "my-deploys"}, **variables)
    assert accepted.outputs["state"] == "Success"
    bearer = f"Bearer {issuer.token('github', 'my-deploys')}"
    path = url.removeprefix(server.url) + "?wait=60"
    answers = [server.request("POST", path, authorization=bearer) for _ in range(2)]
    assert [answer.json["state"] for answer in answers] == ["Success"] * 2
    outcomes = [each["outcome"] for each in json.loads(console.hook("deliveries", "web", "github", "--json"))]
    assert outcomes == ["repeated", "queued", "queued", "refused"]
    console.hook("rm", "web", "github")
