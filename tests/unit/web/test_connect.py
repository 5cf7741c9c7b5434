"""The handler that fits a sender: what a form makes, and that the sender's real calls pass its checks."""

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.application.admission.calls import NOW, hex_hmac, payload
from tests.unit.application.made_handlers import connect
from tutumd.application.admission.evaluate import (
    CallInput,
    Verdict,
    VerdictKind,
    check_operation,
    evaluate,
    parse_options,
)
from tutumd.model import Operation
from tutumd.web.messages.senders import SENDERS, find_sender, group_senders
from tutumd.web.pages.connect import make_secret
from tutumd.web.pages.connect_inputs import propose

IMAGE = "registry.example.com:5000/library/app:v1.0"
SECRET = "made-by-the-server"

PROPOSALS: dict[str, dict[str, Any]] = {
    "github": {"verify": {"preset": "github"}, "filter": {"preset": "branch", "branch": ["main"]}},
    "gitlab": {"verify": {"preset": "gitlab"}, "filter": {"preset": "branch", "branch": ["main"]}},
    "gitea": {"verify": {"preset": "forgejo"}, "filter": {"preset": "branch", "branch": ["main"]}},
    "bitbucket": {"verify": {"preset": "bitbucket"}, "filter": {"preset": "branch", "branch": ["main"]}},
    "dockerhub": {"filter": {"preset": "tag", "tag": ["v1.0"]}},
    "ghcr": {"verify": {"preset": "github"}, "filter": {"preset": "tag", "tag": ["v1.0"]}},
    "harbor": {
        "verify": {"preset": "token", "header": "Authorization"},
        "filter": {"preset": "tag", "tag": ["v1.0"], "repository": "library/app"},
    },
    "quay": {"filter": {"preset": "tag", "tag": ["v1.0"]}},
    "github-actions": {},
    "forgejo-actions": {},
    "gitlab-ci": {},
    "curl": {},
    "alertmanager": {
        "operation": "SCALEUP",
        "verify": {"preset": "token"},
        "filter": "body.status == 'firing'",
        "max_containers": 10,
    },
}
CALLS = [  # of each sender: what to choose, a call that counts then, and one that does not
    ("github", {"patterns": "main"}, "github-push", "github-push-tag"),
    ("github", {"patterns": "v*", "kind": "tag"}, "github-push-tag", "github-push"),
    ("gitlab", {"patterns": "main"}, "gitlab-push", "gitlab-tag"),
    ("gitlab", {"patterns": "v*", "kind": "tag"}, "gitlab-tag", "gitlab-push"),
    ("gitea", {"patterns": "develop"}, "gitea-push", "gitea-delete"),
    ("bitbucket", {"patterns": "master"}, "bitbucket-push", "bitbucket-push-deleted"),
    ("bitbucket", {"patterns": "master"}, "bitbucket-server-push", "bitbucket-server-ping"),
    ("dockerhub", {"patterns": "latest"}, "dockerhub", "github-push"),
    ("ghcr", {"patterns": "latest", "repository": "octo-org/app"}, "ghcr-registry-package", "ghcr-untagged"),
    ("ghcr", {"patterns": "v1.*"}, "ghcr-package", "github-ping"),
    ("harbor", {"patterns": "v1.*", "repository": "library/app"}, "harbor-push", "harbor-scan"),
    ("quay", {"patterns": "v3"}, "quay", "quay-images"),
    ("alertmanager", {}, "alertmanager-firing", "alertmanager-resolved"),
]
TAGS = [
    ("dockerhub", "dockerhub", "latest"),
    ("ghcr", "ghcr-registry-package", "latest"),
    ("ghcr", "ghcr-package", "v1.2.0"),
    ("harbor", "harbor-push", "v1.0"),
    ("harbor", "harbor-cloudevents", "v1.0"),
    ("quay", "quay", "latest"),
]


def test_a_name_is_proposed_that_no_other_handler_has() -> None:
    github = SENDERS["github"]
    for taken, name in (((), "github"), (("github",), "github-2"), (("github", "github-2", "ci"), "github-3")):
        assert propose(github, "app", taken)["name"] == name


def test_there_is_a_proposal_for_every_sender() -> None:
    assert list(SENDERS) == list(PROPOSALS)
    assert [sender.key for senders in group_senders().values() for sender in senders] == list(SENDERS)


@pytest.mark.parametrize("key", SENDERS)
def test_a_sender_has_a_handler_unless_somebody_chooses_otherwise(key: str) -> None:
    expected = {"name": key, "operation": "REDEPLOY", **PROPOSALS[key]}
    if "verify" in expected:
        expected["verify"] = {**expected["verify"], "secrets": [SECRET]}
    document = connect(key, propose(SENDERS[key], IMAGE), SECRET)
    assert document == expected
    check_operation(parse_options(document, NOW), Operation(document["operation"]))


@pytest.mark.parametrize(("key", "sent", "counts", "does_not"), CALLS)
def test_its_real_calls_count_or_do_not(key: str, sent: dict[str, str], counts: str, does_not: str) -> None:
    document = connect(key, {**sent, "verifies": "1"}, SECRET)
    options = parse_options(document, NOW)
    assert evaluate(options, sign(payload(counts), document)).kind is VerdictKind.GO
    assert evaluate(options, sign(payload(does_not), document)).kind is VerdictKind.SKIPPED
    if "verify" in document:
        for wrong in (payload(counts), sign(payload(counts), document, "another")):
            assert evaluate(options, wrong).kind is VerdictKind.UNAUTHORIZED


@pytest.mark.parametrize(("key", "name", "tag"), TAGS)
def test_the_pushed_tag_is_deployed_if_asked_for(key: str, name: str, tag: str) -> None:
    sent = {"patterns": f"x, {tag}"}
    document = connect(key, {**sent, "deploys_tag": "1"}, SECRET)
    assert evaluate(parse_options(document, NOW), payload(name)) == Verdict(tag=tag)
    kept = connect(key, sent, SECRET)
    assert evaluate(parse_options(kept, NOW), payload(name)) == Verdict(tag=None)


def identity(**claims: list[str]) -> dict[str, Any]:
    return {"verify": {"preset": "oidc", "issuer": "https://git.example", "claims": claims}}


def test_identity_tokens_are_proposed_if_the_server_allows_an_issuer() -> None:
    proposal = propose(SENDERS["github-actions"], "ghcr.io/me/shop/web:v1", (), ["https://a", "https://b"])
    assert (proposal["verifies"], proposal["issuer"], proposal["project"]) == ("1", "https://a", "me/shop")
    assert propose(SENDERS["github-actions"], "app")["verifies"] == ""


FIRING = "body.status == 'firing'"


@pytest.mark.parametrize(
    ("key", "sent", "document"),
    [
        (
            "github",
            {"name": " web ", "kind": "tag", "patterns": " v1.*,v2 \n v3,", "verifies": "1", "repository": "x"},
            {
                "name": "web",
                "verify": {"preset": "github", "secrets": [SECRET]},
                "filter": {"preset": "tag", "tag": ["v1.*", "v2", "v3"]},
            },
        ),
        (
            "alertmanager",
            {"operation": "SCALEUP", "max_containers": " 3 "},
            {"operation": "SCALEUP", "filter": FIRING, "max_containers": 3},
        ),
        ("alertmanager", {"operation": "REDEPLOY"}, {"filter": FIRING}),
        ("curl", {"patterns": "v*", "verifies": "1"}, {"tag": {"allow": ["v*"]}}),
        (
            "forgejo-actions",
            {"verifies": "1", "issuer": "https://git.example", "project": " me/shop ", "branch": "main, v*"},
            identity(repository=["me/shop"], ref=["refs/heads/main", "refs/heads/v*"]),
        ),
        (
            "gitlab-ci",
            {"verifies": "1", "issuer": "https://git.example", "project": "me/shop", "branch": "main"},
            identity(project_path=["me/shop"], ref_type=["branch"], ref=["main"]),
        ),
        (
            "github-actions",
            {"verifies": "1", "issuer": "https://git.example", "project": "me/shop"},
            identity(repository=["me/shop"]),
        ),
        ("github-actions", {"issuer": "https://git.example", "project": "me/shop"}, {}),
    ],
)
def test_a_form_is_read(key: str, sent: dict[str, str], document: dict[str, Any]) -> None:
    assert connect(key, sent, SECRET) == {"name": key, "operation": "REDEPLOY", **document}


def test_a_sender_is_found_by_its_key_or_its_signature() -> None:
    assert find_sender("quay", "github") is SENDERS["quay"]
    assert find_sender("", "bitbucket") is SENDERS["bitbucket"]
    assert find_sender("nobody") is None


def test_the_tag_of_an_image_is_proposed() -> None:
    tags = {
        "app": "latest",
        "app:v1": "v1",
        "host:5000/app": "latest",
        "host:5000/a/app:v2@sha256:00": "v2",
        "": "latest",
    }
    assert {image: propose(SENDERS["dockerhub"], image)["patterns"] for image in tags} == tags


def test_secrets_fit_their_preset() -> None:
    for preset in ("github", "token", "gitlab", "standard-webhooks"):
        secret = make_secret(preset)
        assert parse_options({"verify": {"preset": preset, "secrets": [secret]}}, NOW).verify
        assert len(secret) >= 43


def sign(call: CallInput, document: dict[str, Any], secret: str = SECRET) -> CallInput:
    """Do the sender's half, as its documentation tells."""
    verify = document.get("verify", {})
    signature = hex_hmac(secret, call.body)
    headers = {
        "github": ("X-Hub-Signature-256", f"sha256={signature}"),
        "gitlab": ("X-Gitlab-Token", secret),
        "forgejo": ("X-Gitea-Signature", signature),
        "bitbucket": ("X-Hub-Signature", f"sha256={signature}"),
        "token": ("Authorization", secret if "header" in verify else f"Bearer {secret}"),
    }
    if not verify:
        return call
    name, value = headers[verify["preset"]]
    return replace(
        call, headers=[*(header for header in call.headers if header[0] != name.lower()), (name.lower(), value)]
    )
