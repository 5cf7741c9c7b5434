"""Copy-paste configuration for senders. What the shell lines send is tried in tests/acceptance/test_snippets.py."""

import json

import pytest
import yaml

from tests.unit.application.admission.calls import evaluation, payload
from tutum.snippets import TARGETS, VARIABLE, snippet, write_call, write_job
from tutumd.application.admission.evaluate import Verdict, VerdictKind

URL = "https://hooks.example.com/api/v1/service/S/webhook/handler/H/call/"


def verified(preset: str, **settings: str) -> dict[str, object]:
    return {"operation": "REDEPLOY", "verify": {"preset": preset, "secrets_set": 1, **settings}}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "handler", [{}, verified("github"), verified("token"), {"operation": "SCALEUP", "verify": None}]
)
def test_every_snippet_holds_the_url(target: str, handler: dict[str, object]) -> None:
    text = snippet(target, URL, handler)
    assert URL in text
    assert "None" not in text


PLAIN: dict[str, object] = {"operation": "REDEPLOY"}


@pytest.mark.parametrize(
    ("target", "handler", "other", "wanted"),
    [
        ("github", verified("github"), PLAIN, "config[secret]=$SECRET"),
        ("github", PLAIN, verified("github"), '{"verify": {"preset": "github", "secrets": ["…"]}}'),
        ("github", PLAIN, verified("github"), "${{ secrets.TUTUM_URL }}"),
        ("github", verified("gitlab"), verified("github"), "GitHub gets a 401"),
        ("gitlab", verified("gitlab"), PLAIN, "token=$SECRET"),
        ("gitlab", PLAIN, verified("gitlab"), "checks no signature"),
        ("gitlab", PLAIN, verified("gitlab"), "curlimages/curl"),
        ("forgejo", verified("forgejo"), PLAIN, "Secret:"),
        ("forgejo", PLAIN, verified("forgejo"), "checks no signature"),
        ("curl", {"verify": {"preset": "oidc"}}, PLAIN, '-H "Authorization: Bearer $TUTUM_TOKEN"'),
        ("dockerhub", verified("github"), PLAIN, "Docker Hub gets a 401"),
        ("alertmanager", verified("token"), PLAIN, "credentials:"),
        ("alertmanager", verified("token", header="X"), verified("token"), "checks token, so Alertmanager gets a 401"),
        ("curl", {"operation": "SCALEUP"}, PLAIN, "call/3/?wait=300"),
        ("curl", {"tag": {"allow": ["v*"], "from": "query"}}, {"tag": {"from": "body.tag"}}, "?tag=TAG&wait=300"),
        ("curl", {"filter": "body.a"}, PLAIN, "200, Skipped"),
        ("curl", {"operation": "ROLLBACK"}, PLAIN, "hold of a rollback lasts, a call is answered 200, Skipped"),
    ],
)
def test_a_snippet_fits_the_handler(
    target: str, handler: dict[str, object], other: dict[str, object], wanted: str
) -> None:
    assert wanted in snippet(target, URL, handler)
    assert wanted not in snippet(target, URL, other)


def test_the_filter_in_docker_hubs_snippet_works() -> None:
    line = next(line for line in snippet("dockerhub", URL, {}).splitlines() if line.startswith("{"))
    assert evaluation(payload("dockerhub"), **json.loads(line)) == Verdict()
    assert evaluation(payload("quay"), filter={"preset": "tag", "tag": "dev"}).kind is VerdictKind.SKIPPED


@pytest.mark.parametrize("target", ["github", "gitlab"])
@pytest.mark.parametrize("handler", [PLAIN, {"operation": "SCALEUP"}, verified("token")])
def test_a_pipeline_names_its_secret_and_is_valid_yaml(target: str, handler: dict[str, object]) -> None:
    text = write_job(target, handler)
    (job,) = document if isinstance(document := yaml.safe_load(text), list) else document.values()
    call = job["run"] if target == "github" else job["script"][0]
    assert call.rstrip() == write_call(VARIABLE, handler)
    assert '"$TUTUM_URL?wait=300"' in call
    assert target != "github" or job["env"] == {"TUTUM_URL": "${{ secrets.TUTUM_URL }}"}


@pytest.mark.parametrize("target", ["github", "gitlab", "forgejo"])
@pytest.mark.parametrize("given", ["", "my deploys & more"])
def test_a_job_with_an_identity_token_is_valid_yaml_without_a_secret(target: str, given: str) -> None:
    audience = {"audience": given} if given else {}
    verify = {"preset": "oidc", "issuer": "https://git.example", "claims": {"repository": "me/shop"}, **audience}
    text = snippet(target, URL, {"verify": verify, "tag": {"allow": ["1.10"]}})
    assert text.startswith("# The handler accepts tokens of https://git.example with repository me/shop.\n")
    assert not {"secret", "$TUTUM_URL"} & set(text.lower().split())
    [job] = yaml.safe_load(text).values()
    if target == "github":
        [step] = job["steps"]
        assert job["permissions"] == {"id-token": "write"}
        assert step["with"] == {"url": URL, "oidc": True, "tag": "1.10", **audience}
        return
    [script] = job["script"] if target == "gitlab" else [step["run"] for step in job["steps"]]
    assert script.rstrip().endswith(f"-H \"Authorization: Bearer $TUTUM_TOKEN\" '{URL}?tag=1.10&wait=300'")
    if target == "gitlab":
        assert job["id_tokens"] == {"TUTUM_TOKEN": {"aud": given or "https://hooks.example.com"}}
    else:
        wanted = "my%20deploys%20%26%20more" if given else "https://hooks.example.com"
        assert f'$ACTIONS_ID_TOKEN_REQUEST_URL&audience={wanted}"' in script


@pytest.mark.parametrize("target", ["github", "gitlab", "curl"])
def test_a_script_prints_why_a_run_failed(target: str) -> None:
    calls = [line for line in snippet(target, URL, PLAIN).splitlines() if "curl -" in line]
    assert calls
    assert all("curl -sS --fail-with-body" in line for line in calls)
