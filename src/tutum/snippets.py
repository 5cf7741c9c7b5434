"""Copy-paste configuration that makes a sender call a webhook handler."""

import json
from collections.abc import Callable, Mapping
from shlex import quote
from typing import Any

_Fields = Mapping[str, Any]

_SIGNED = {
    "github": ("X-Hub-Signature-256", "sha256="),
    "bitbucket": ("X-Hub-Signature", "sha256="),
    "gitea": ("X-Gitea-Signature", ""),
    "forgejo": ("X-Forgejo-Signature", ""),
}
_GITHUB_STEP = """
# Or a step of a workflow, which fails if the run fails; save the URL as the secret TUTUM_URL:
- name: Redeploy
  run: curl -sS --fail-with-body -X POST "$TUTUM_URL?wait=300"
  env:
    TUTUM_URL: ${{ secrets.TUTUM_URL }}
"""
_GITLAB_JOB = """
# Or a job in .gitlab-ci.yml, which fails if the run fails; save the URL as the masked variable TUTUM_URL:
redeploy:
  image: curlimages/curl
  script:
    - curl -sS --fail-with-body -X POST "$TUTUM_URL?wait=300"
"""
_READ_SECRET = "SECRET='…'   # one of the handler's secrets"  # noqa: S105


def snippet(target: str, url: str, handler: _Fields) -> str:
    """Return the configuration to paste for one kind of sender.

    Args:
        target: One of TARGETS.
        url: The handler's whole URL, ending in `/call/`. The text contains it, and it is a password.
        handler: The handler as the API describes it.

    Raises:
        ValueError: The target is unknown.
    """
    if target not in _WRITERS:
        raise ValueError(f"there are snippets for {', '.join(TARGETS)}, not for {target!r}")
    return _WRITERS[target](url, handler).rstrip() + "\n"


def _curl(url: str, handler: _Fields) -> str:
    takes_tag = handler.get("tag") and handler["tag"].get("from", "query") == "query"
    prepare, options = _signing(handler.get("verify") or {})
    lines = [
        "# --fail-with-body (curl 7.76 or newer; before, -f) makes a script fail if the run fails, and prints why.",
        "# Without wait, the response comes before the run ends.",
    ]
    if handler.get("filter"):
        lines.append("# A call that the handler's filter does not match is answered 200, Skipped.")
    lines += [
        *prepare,
        f"curl -sS --fail-with-body -X POST{options} {quote(url + ('?tag=v2&wait=300' if takes_tag else '?wait=300'))}",
    ]
    if handler.get("operation") == "SCALEUP":
        lines.append(f"# Three containers instead of one: the same with {quote(url + '3/?wait=300')}")
    return "\n".join(lines)


def _signing(verify: _Fields) -> tuple[list[str], str]:
    """Return the shell lines that prepare what the handler verifies, and the options of curl that send it."""
    preset = verify.get("preset")
    if not preset:
        return [], ""
    if preset == "gitlab":
        return [_READ_SECRET], ' -H "X-Gitlab-Token: $SECRET"'
    if preset == "token":
        name = f"{verify['header']}: " if verify.get("header") else "Authorization: Bearer "
        return [_READ_SECRET], f' -H {quote(name)}"$SECRET"'
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
    return lines, f' -H {quote(f"{header}: {prefix}")}"$SIGNATURE"{send_body}'


def _github(url: str, handler: _Fields) -> str:
    secret = ' -f "config[secret]=$SECRET"' if _checks(handler, "github") else ""
    return f"""\
# A webhook of the repository: Settings, Webhooks, Add webhook; or with GitHub's command line:
{_secret_line(handler, "github")}gh api repos/OWNER/REPOSITORY/hooks -f name=web -F active=true -f 'events[]=push' \\
  -f {quote("config[url]=" + url)} -f 'config[content_type]=json'{secret}
{_warning(handler, "github", "GitHub")}{_unless_verified(handler, _GITHUB_STEP)}"""


def _gitlab(url: str, handler: _Fields) -> str:
    secret = ' --data-urlencode "token=$SECRET"' if _checks(handler, "gitlab") else ""
    return f"""\
# A webhook of the project: Settings, Webhooks, Add new webhook; or with GitLab's API:
{_secret_line(handler, "gitlab")}curl -sS --fail-with-body -X POST -H "PRIVATE-TOKEN: $GITLAB_TOKEN" \\
  -d push_events=true{secret} \\
  --data-urlencode {quote("url=" + url)} https://gitlab.com/api/v4/projects/PROJECT_ID/hooks
{_warning(handler, "gitlab", "GitLab")}{_unless_verified(handler, _GITLAB_JOB)}"""


def _dockerhub(url: str, handler: _Fields) -> str:
    warning = (
        "\n# Docker Hub signs nothing, so this handler, which checks a signature, answers 401: create another one.\n"
        if handler.get("verify")
        else ""
    )
    advice = (
        "The handler's filter or tag decides which ones count."
        if handler.get("filter") or handler.get("tag")
        else 'For one tag only, set the handler\'s filter:\n{"filter": {"preset": "tag", "tag": "latest"}}'
    )
    return f"""\
# The repository on Docker Hub: Webhooks, New webhook
Webhook name: tutumd
Webhook URL:  {url}
{warning}
# Docker Hub calls it for every tag. {advice}
"""


def _alertmanager(url: str, handler: _Fields) -> str:
    verify = handler.get("verify") or {}
    limit = " Limit the handler with max_containers." if handler.get("operation") == "SCALEUP" else ""
    has_bearer = verify.get("preset") == "token" and not verify.get("header")
    credentials = (
        """
        http_config:
          authorization:
            credentials: "…"   # one of the handler's secrets"""
        if has_bearer
        else ""
    )
    warning = (
        ""
        if has_bearer or not verify
        else f"\n# This handler checks {verify['preset']}, which Alertmanager cannot do.\n"
    )
    return f"""\
# alertmanager.yml, beside the routes and receivers that you have
{warning}route:
  routes:
    - matchers: ['alertname = "HighLoad"']   # the alert that should call
      receiver: tutumd
      continue: true
receivers:
  - name: tutumd
    webhook_configs:
      - url: {json.dumps(url)}
        send_resolved: false{credentials}

# Alertmanager calls at each repeat_interval while the alert lasts.{limit}
"""


def _checks(handler: _Fields, preset: str) -> bool:
    return bool((handler.get("verify") or {}).get("preset") == preset)


def _secret_line(handler: _Fields, preset: str) -> str:
    return f"{_READ_SECRET}\n" if _checks(handler, preset) else ""


def _unless_verified(handler: _Fields, text: str) -> str:
    # A plain curl is of no use for a handler that checks a signature.
    return "\n# In a pipeline, use the lines of --for curl, which sign.\n" if handler.get("verify") else text


def _warning(handler: _Fields, preset: str, sender: str) -> str:
    if _checks(handler, preset):
        return ""
    wanted = json.dumps({"verify": {"preset": preset, "secrets": ["…"]}}, ensure_ascii=False)
    if handler.get("verify"):
        return f"# This handler checks {handler['verify']['preset']}, so {sender} gets a 401: create another one.\n"
    return f"# This handler checks no signature. To accept only {sender}, set {wanted} and give {sender} the secret.\n"


_WRITERS: dict[str, Callable[[str, _Fields], str]] = {
    "github": _github,
    "gitlab": _gitlab,
    "dockerhub": _dockerhub,
    "alertmanager": _alertmanager,
    "curl": _curl,
}

#: The senders that there are snippets for.
TARGETS = tuple(_WRITERS)
