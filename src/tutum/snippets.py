"""Copy-paste configuration that makes a sender call a webhook handler."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from tutum.version import __version__

_Fields = Mapping[str, Any]

_SIGNED = {
    "github": ("X-Hub-Signature-256", "sha256="),
    "bitbucket": ("X-Hub-Signature", "sha256="),
    "gitea": ("X-Gitea-Signature", ""),
    "forgejo": ("X-Forgejo-Signature", ""),
}
_READ_SECRET = "SECRET='…'   # one of the handler's secrets"  # noqa: S105

#: Stands for the URL in lines that must not contain it.
VARIABLE = "$TUTUM_URL"

ALERTMANAGER = """\
# Beside the routes and receivers that you have.
route:
  routes:
    - matchers: ['alertname = "HighLoad"']   # the alert that should call
      receiver: tutumd
      continue: true
receivers:
  - name: tutumd
    webhook_configs:
      - url: "{url}"
        send_resolved: false{credential}"""
ALERTMANAGER_CREDENTIAL = """
        http_config:
          authorization:
            credentials: {secret}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sender:
    """A sender with its own form or configuration.

    Attributes:
        preset: How the handler can check the sender; empty if it signs nothing.
        text: Text to paste, with `{url}` and `{credential}`.
        credential: Replacement for `{credential}` if the handler checks the sender.
        job: Remark before the step of a pipeline, for a handler that checks nothing.
    """

    name: str
    preset: str
    text: str
    credential: str = ""
    job: str = ""


_SENDERS = {
    "github": _Sender(
        name="GitHub",
        preset="github",
        text="""\
# A webhook of the repository: Settings, Webhooks, Add webhook; or with GitHub's command line:
gh api repos/OWNER/REPOSITORY/hooks -f name=web -F active=true -f 'events[]=push' \\
  -f 'config[url]={url}' -f 'config[content_type]=json'{credential}
""",
        credential=' -f "config[secret]=$SECRET"',
        job="# Or a step of a workflow, which fails if the run fails; save the URL as the secret TUTUM_URL:",
    ),
    "gitlab": _Sender(
        name="GitLab",
        preset="gitlab",
        text="""\
# A webhook of the project: Settings, Webhooks, Add new webhook; or with GitLab's API:
curl -sS --fail-with-body -X POST -H "PRIVATE-TOKEN: $GITLAB_TOKEN" \\
  -d push_events=true{credential} \\
  --data-urlencode 'url={url}' https://gitlab.com/api/v4/projects/PROJECT_ID/hooks
""",
        credential=' --data-urlencode "token=$SECRET"',
        job="# Or a job in .gitlab-ci.yml, which fails if the run fails; save the URL as masked variable TUTUM_URL:",
    ),
    "forgejo": _Sender(
        name="Forgejo",
        preset="forgejo",
        text="""\
# A webhook of the repository: Settings, Webhooks, Add webhook, Forgejo
Target URL:        {url}
POST content type: application/json{credential}
""",
        credential="\nSecret:            …   # one of the handler's secrets",
        job="# Or a step of a workflow, which fails if the run fails; save the URL as the secret TUTUM_URL:",
    ),
    "dockerhub": _Sender(
        name="Docker Hub",
        preset="",
        text="""\
# The repository on Docker Hub: Webhooks, New webhook
Webhook name: tutumd
Webhook URL:  {url}

# Docker Hub calls it for every tag. For one tag only, set the handler's filter:
{"filter": {"preset": "tag", "tag": "latest"}}
""",
    ),
    "alertmanager": _Sender(
        name="Alertmanager",
        preset="token",
        text=f"""\
# alertmanager.yml
{ALERTMANAGER}

# Alertmanager calls at each repeat_interval while the alert lasts. Limit a SCALEUP handler with max_containers.
# A ROLLBACK handler skips the calls that it gets while the hold of its rollback lasts.
""",
        credential=ALERTMANAGER_CREDENTIAL.format(secret='"…"   # one of the handler\'s secrets'),  # noqa: S106
    ),
}

#: Text before the call in the step or job of a pipeline, and the indentation of further lines.
_STEP = ("- name: Redeploy\n  env:\n    TUTUM_URL: ${{ secrets.TUTUM_URL }}\n  run: ", "\n    ")
_JOBS = {
    "github": _STEP,
    "forgejo": _STEP,
    "gitlab": ("redeploy:\n  image: curlimages/curl\n  script:\n    - ", "\n      "),
}

#: Jobs of a pipeline that call with an identity token. `{call}` stands for the lines that call with the token.
_IDENTITY_JOBS = {
    "github": """\
redeploy:
  runs-on: ubuntu-latest
  permissions:
    id-token: write
  steps:
    - uses: tutumd/tutumd/action@v{version}
      with:
        url: {url}
        oidc: true{inputs}""",
    "gitlab": """\
redeploy:
  image: curlimages/curl
  id_tokens:
    TUTUM_TOKEN:
      aud: {audience}
  script:
    - |
      {call}""",
    "forgejo": """\
redeploy:
  runs-on: docker
  enable-openid-connect: true
  steps:
    - run: |
        TUTUM_TOKEN=$(curl -sS --fail -H "Authorization: Bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN" \\
          "$ACTIONS_ID_TOKEN_REQUEST_URL&audience={quoted}" | sed -n 's/.*"value" *: *"\\([^"]*\\)".*/\\1/p')
        {call}""",
}

#: The senders that have snippets.
TARGETS = (*_SENDERS, "curl")


def snippet(target: str, url: str, handler: _Fields) -> str:
    """Return the configuration to paste for one kind of sender.

    Args:
        target: One of TARGETS.
        url: The handler's whole URL, ending in `/call/`. The text contains it, and it is a password.
        handler: The handler as the API describes it.

    Raises:
        KeyError: The target is unknown.
    """
    if target == "curl":
        return _curl(url, handler)
    sender, verify = _SENDERS[target], handler.get("verify") or {}
    if verify.get("preset") == "oidc" and target in _IDENTITY_JOBS:
        claims = ", ".join(
            f"{name} {globs if isinstance(globs, str) else ' or '.join(globs)}"
            for name, globs in verify["claims"].items()
        )
        return f"# The handler accepts tokens of {verify['issuer']} with {claims}.\n{write_job(target, handler, url)}\n"
    text = sender.text.replace("{url}", url)
    if verify.get("preset") == sender.preset and not verify.get("header"):
        start = f"{_READ_SECRET}\n" if "$SECRET" in sender.credential else ""
        return start + text.replace("{credential}", sender.credential)
    remark = ""
    if verify:
        remark = f"\n# This handler checks {verify['preset']}, so {sender.name} gets a 401: create another one.\n"
    elif sender.preset:
        wanted = json.dumps({"verify": {"preset": sender.preset, "secrets": ["…"]}}, ensure_ascii=False)
        remark = f"\n# This handler checks no signature. To accept only {sender.name}, set {wanted}.\n"
        remark += f"\n{sender.job}\n{write_job(target, handler, url)}\n" if sender.job else ""
    return text.replace("{credential}", "") + remark


def _curl(url: str, handler: _Fields) -> str:
    lines = [
        "# --fail-with-body (curl 7.76 or newer; before, -f) makes a script fail if the run fails, and prints why.",
        "# Without wait, the response comes before the run ends.",
    ]
    if handler.get("filter"):
        lines.append("# A call that the handler's filter does not match is answered 200, Skipped.")
    if handler.get("operation") == "ROLLBACK":
        lines.append("# While the hold of a rollback lasts, a call is answered 200, Skipped.")
    return "\n".join([*lines, write_call(url, handler)])


def write_job(target: str, handler: _Fields, url: str = VARIABLE) -> str:
    """Return the step or job that calls a handler, for a pipeline of `github`, `gitlab` or `forgejo`.

    It contains the URL only if the handler checks identity tokens. Otherwise, the pipeline has the URL as the secret
    variable TUTUM_URL.
    """
    verify = handler.get("verify") or {}
    if verify.get("preset") == "oidc":
        return _identity_job(target, url, handler)
    (start, indentation), call = _JOBS[target], write_call(VARIABLE, handler)
    is_block = "\n" in call or ": " in call
    return start + (indentation.join(["|", *call.splitlines()]) if is_block else call)


def _identity_job(target: str, url: str, handler: _Fields) -> str:
    """Return the job of a pipeline that calls a handler with an identity token."""
    tag, call = _find_tag(handler), write_call(url, handler).splitlines()[1:]
    parts, given = urlsplit(url), handler["verify"].get("audience")
    inputs, audience = {"audience": given, "tag": tag}, given or f"{parts.scheme}://{parts.netloc}"
    values = {
        "version": __version__,
        "url": url,
        "inputs": "".join(f"\n        {name}: {json.dumps(value)}" for name, value in inputs.items() if value),
        "audience": json.dumps(audience),
        "quoted": quote(audience, safe=":/"),
    }
    text = _IDENTITY_JOBS[target]
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    indentation = text.partition("{call}")[0].rpartition("\n")[2]
    return text.replace("{call}", f"\n{indentation}".join(call))


def _find_tag(handler: _Fields) -> str:
    """Return an example of the tag that a call may name; empty if a call names none."""
    tag = handler.get("tag") or {}
    example = next((glob for glob in tag.get("allow", ()) if not set("*?[") & set(glob)), "TAG")
    return example if tag and tag.get("from", "query") == "query" else ""


def write_call(url: str, handler: _Fields) -> str:
    """Return the shell lines that call a handler with curl, and fail if its run fails. The server shows them too.

    Args:
        url: The handler's whole URL, ending in `/call/`. The lines contain it, and it is a password. Or VARIABLE.
        handler: The handler as the API describes it.
    """
    lines, options = sign_call(handler.get("verify") or {})
    tag = _find_tag(handler)
    query = f"?tag={tag}&wait=300" if tag else "?wait=300"
    is_variable = url == VARIABLE
    called = f'"{url}{query}"' if is_variable else shlex.quote(url + query)
    lines.append(f"curl -sS --fail-with-body -X POST{options} {called}")
    if handler.get("operation") == "SCALEUP":
        three = '"${TUTUM_URL}3/?wait=300"' if is_variable else shlex.quote(url + "3/?wait=300")
        lines.append(f"# Three containers instead of one: the same with {three}")
    return "\n".join(lines)


def sign_call(verify: _Fields) -> tuple[list[str], str]:
    """Return the shell lines that prepare what a handler verifies, and the options of curl that send it."""
    preset = verify.get("preset")
    if not preset:
        return [], ""
    if preset == "oidc":
        audience = verify.get("audience") or "the origin of the URL"
        return [
            f"# TUTUM_TOKEN is an identity token of the job. Its audience is {audience}."
        ], ' -H "Authorization: Bearer $TUTUM_TOKEN"'
    if preset == "gitlab":
        return [_READ_SECRET], ' -H "X-Gitlab-Token: $SECRET"'
    if preset == "token":
        name = f"{verify['header']}: " if verify.get("header") else "Authorization: Bearer "
        return [_READ_SECRET], f' -H {shlex.quote(name)}"$SECRET"'
    lines = [_READ_SECRET, "BODY='{}'"]
    send_body = " -H 'Content-Type: application/json' --data-raw \"$BODY\""
    if preset == "standard-webhooks":
        lines += [
            "ID=$(openssl rand -hex 16) TIME=$(date +%s)",
            'KEY=$(printf %s "${SECRET#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d " \\n")',
            'SIGNATURE=$(printf %s "$ID.$TIME.$BODY" |'
            ' openssl dgst -sha256 -mac HMAC -macopt "hexkey:$KEY" -binary | openssl base64 -A)',
        ]
        headers = ' -H "webhook-id: $ID" -H "webhook-timestamp: $TIME" -H "webhook-signature: v1,$SIGNATURE"'
        return lines, headers + send_body
    encode = "openssl base64 -A" if verify.get("encoding") == "base64" else 'od -An -v -tx1 | tr -d " \\n"'
    algorithm = verify.get("algorithm", "sha256")
    lines.append(f'SIGNATURE=$(printf %s "$BODY" | openssl dgst -{algorithm} -hmac "$SECRET" -binary | {encode})')
    header, prefix = _SIGNED.get(preset, (verify.get("header"), verify.get("prefix", "")))
    return lines, f' -H {shlex.quote(f"{header}: {prefix}")}"$SIGNATURE"{send_body}'
