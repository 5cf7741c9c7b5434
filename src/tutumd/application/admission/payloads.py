"""Payloads of senders: which branches, tags and files were pushed, if any."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from tutumd.application.admission.headers import Headers
from tutumd.application.admission.json_checks import MAX_DEPTH, is_shallow
from tutumd.errors import Reason
from tutumd.model.calls import is_commit

# Parsing a body of this size takes at most 30 ms and 10 MB. A GitHub push of 1,000 commits has 25,000 values.
MAX_VALUES = 50_000

_PING = Reason("ping")
_EVENT_NAMES = ("x-github-event", "x-forgejo-event", "x-gitea-event", "x-gogs-event", "x-gitlab-event", "x-event-key")
_HARBOR_PUSHES = ("push_artifact", "harbor.artifact.pushed")
# A call without any of these texts is not skipped: most calls are judged without parsing each kind of payload.
_SKIPPED_EVENTS = {"ping", "diagnostics:ping", "delete", "package"}
_TELLING_FIELDS = {
    *("zen", "after", "deleted", "events", "action", "type", "event_data", "package", "registry_package"),
    *("push", "changes"),  # Bitbucket
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """The push that a payload describes.

    Attributes:
        event: The sender's name of the event; empty if it names none.
        tags: Pairs of repository and tag, of images and of Git.
        images: Pairs of an image's name with its registry, as far as the payload names it, and the tag.
        is_git: Whether commits were pushed.
        paths: Files that these commits changed; None if the payload does not name all of them.
        message: Message of the newest commit.
    """

    event: str = ""
    branches: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    images: tuple[tuple[str, str], ...] = ()
    is_git: bool = False
    paths: tuple[str, ...] | None = None
    message: str = ""


# A function for each float lets other threads run: without it, 1 MiB of floats delays them by 30 ms.
_DECODER = json.JSONDecoder(parse_float=lambda text: float(text))


def parse_body(body: bytes, content_type: str) -> Any:
    """Return the value of a JSON or form-encoded body; None if the body is neither, is nested deeper than 100 levels,
    or is too large.

    JSON is parsed whatever the content type is (`curl -d` sends it as a form). In GitHub's form, `payload` holds the
    JSON.
    """
    first = body.lstrip()[:1]
    if first not in (b"{", b"[") and "x-www-form-urlencoded" in content_type.lower():
        return _parse_form(body)
    return _parse_json(body)


def find_skip_reason(headers: Headers, body: Any) -> Reason | None:
    """Return why a call is skipped whatever the filter says: a ping, a deletion, a pull; otherwise None."""
    event = _event(headers)
    if not isinstance(body, dict):
        return _PING if event.lower().endswith("ping") else None
    if event.lower() not in _SKIPPED_EVENTS and _TELLING_FIELDS.isdisjoint(body):
        return None
    return _skip_reason(event, body) or _bitbucket_skip_reason(body)


def read_push(headers: Headers, body: Any) -> Push:
    """Return the push of a documented payload of a Git host or registry."""
    event = _event(headers)
    for read in (_read_bitbucket, _read_registry, _read_git) if isinstance(body, dict) else ():
        push = read(event, body)
        if push is not None:
            return push
    return Push(event=event)


def find_revision(body: Any) -> str | None:
    """Return the commit of a push to GitHub, GitLab, Gitea or Forgejo; None if there is none.

    GitLab: `checkout_sha`, because `after` may be a tag. The others: `head_commit`, for the same reason, or `after`.
    """
    if not _text(body, "ref").startswith("refs/"):
        return None
    names = (("checkout_sha",), ("head_commit", "id"), ("after",))
    text = next(filter(None, (_text(body, *keys) for keys in names)), "")
    return text if is_commit(text) else None


def dig(document: Any, *keys: str) -> Any:
    """Return the value at nested keys of a document; None if there is none."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _text(document: Any, *keys: str) -> str:
    value = dig(document, *keys)
    return value if isinstance(value, str) else ""


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _parse_json(body: bytes) -> Any:
    opened = body.count(b"{") + body.count(b"[")
    # Each value but the first of a list or object follows a comma. Commas in texts count as well.
    if opened + body.count(b",") > MAX_VALUES:
        return None
    try:
        document = _DECODER.decode(body.decode(json.detect_encoding(body), "surrogatepass"))
    except (ValueError, RecursionError):
        return None
    # A body with so few brackets, such as most bodies, cannot be nested deeper.
    return document if opened <= MAX_DEPTH or is_shallow(document) else None


def _parse_form(body: bytes) -> Any:
    try:
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1000))
    except ValueError:
        return None
    document = _parse_json(fields.get("payload", "").encode())
    return document if isinstance(document, dict) else fields


def _event(headers: Headers) -> str:
    firsts = dict(reversed(headers))
    return next((firsts[name] for name in _EVENT_NAMES if name in firsts), "").strip()[:100]


def _skip_reason(event: str, body: dict[str, Any]) -> Reason | None:
    # GitHub: ping. Bitbucket Data Center: diagnostics:ping.
    if event.lower() in ("ping", "diagnostics:ping") or ("zen" in body and "hook_id" in body):
        return _PING
    after = _text(body, "after")
    if event == "delete" or body.get("deleted") is True or (len(after) >= 40 and not after.strip("0")):
        name = _text(body, "ref").removeprefix("refs/heads/").removeprefix("refs/tags/")[:100]
        kind = "tag" if _text(body, "ref").startswith("refs/tags/") or body.get("ref_type") == "tag" else "branch"
        return Reason("ref-deleted", (kind, name))
    return _registry_skip_reason(event, body)


def _registry_skip_reason(event: str, body: dict[str, Any]) -> Reason | None:
    events = _registry_events(body)
    pushes = [item for item in events if item["action"] == "push"]
    harbor = _text(body, "type").lower()
    is_harbor = harbor.startswith("harbor.") or ("event_data" in body and "occur_at" in body)
    if (events and not pushes) or (is_harbor and harbor not in _HARBOR_PUSHES):
        return Reason("nothing-pushed")
    if event == "package" and body.get("action") == "deleted":
        return Reason("package-deleted")
    # A layer, or one platform of an image: a separate event with the tag follows.
    is_untagged = (pushes and not any(_text(item, "target", "tag") for item in pushes)) or any(
        dig(package, "package_version", "container_metadata", "tag", "name") == ""
        or (_text(package, "type") == "container" and ":" in _text(package, "version"))
        for package in (dig(body, "package"), dig(body, "registry_package"))
    )
    return Reason("no-pushed-tag") if is_untagged else None


def _registry_events(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the events of a distribution registry (also GitLab's and Gitea's); Azure sends one without the list.

    Source: https://distribution.github.io/distribution/about/notifications
    """
    events = [item for item in _dicts(body.get("events")) if "action" in item and "target" in item]
    return events or ([body] if "action" in body and isinstance(dig(body, "target", "repository"), str) else [])


def _read_git(event: str, body: dict[str, Any]) -> Push | None:
    """Return a push of GitHub, GitLab, Gitea or Forgejo."""
    ref = _text(body, "ref")
    if event.lower() not in ("", "push", "push hook", "tag push hook", "system hook") or not ref.startswith("refs/"):
        return None
    repository = _text(body, "repository", "full_name") or _text(body, "project", "path_with_namespace")
    commits = _dicts(body.get("commits"))
    tag = ref.removeprefix("refs/tags/")
    head = dig(body, "head_commit") or next((c for c in commits if c.get("id") == body.get("after")), None)
    return Push(
        event=event,
        is_git=True,
        branches=(ref.removeprefix("refs/heads/"),) if ref.startswith("refs/heads/") else (),
        tags=((repository, tag),) if tag != ref else (),
        paths=_paths(body, commits),
        message=_text(head or (commits[-1] if commits else None), "message"),
    )


def _paths(body: dict[str, Any], commits: list[dict[str, Any]]) -> tuple[str, ...] | None:
    # GitLab and Gitea list some of the commits and their total number; GitHub lists at most 2,048 commits.
    totals = [body.get("total_commits_count"), body.get("total_commits")]
    total = max([value for value in totals if isinstance(value, int)], default=len(commits))
    lists = [commit.get(kind) for commit in commits for kind in ("added", "modified", "removed")]
    if not any(isinstance(names, list) for names in lists) or not len(commits) >= total < 2048:
        return None
    names = (name for names in lists if isinstance(names, list) for name in names if isinstance(name, str))
    return tuple(dict.fromkeys(names))


def _bitbucket_changes(body: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the changed refs of a push of Bitbucket Cloud and those of Bitbucket Data Center.

    Sources: https://support.atlassian.com/bitbucket-cloud/docs/event-payloads (Push),
    https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html (Push)
    """
    server = [change for change in _dicts(body.get("changes")) if isinstance(change.get("ref"), dict)]
    return _dicts(dig(body, "push", "changes")), server


def _bitbucket_skip_reason(body: dict[str, Any]) -> Reason | None:
    cloud, server = _bitbucket_changes(body)
    deleted = [_text(change, "old", "name") for change in cloud if not dig(change, "new")]
    deleted += [_text(change, "ref", "displayId") for change in server if change.get("type") == "DELETE"]
    return Reason("ref-deleted", ("branch", deleted[0][:100])) if len(cloud) + len(server) == len(deleted) > 0 else None


def _read_bitbucket(event: str, body: dict[str, Any]) -> Push | None:
    cloud, server = _bitbucket_changes(body)
    if not cloud and not server:
        return None
    refs = [(_text(change, "new", "type"), _text(change, "new", "name")) for change in cloud if dig(change, "new")]
    refs += [
        (_text(change, "ref", "type").lower(), _text(change, "ref", "displayId"))
        for change in server
        if change.get("type") != "DELETE"
    ]
    project = f"{_text(body, 'repository', 'project', 'key')}/{_text(body, 'repository', 'slug')}"
    repository = _text(body, "repository", "full_name") if cloud else project
    newest = next((change["new"] for change in cloud if dig(change, "new")), None)
    return Push(
        event=event,
        is_git=True,
        branches=tuple(name for kind, name in refs if kind == "branch"),
        tags=tuple((repository, name) for kind, name in refs if kind == "tag"),
        message=_text(newest, "target", "message") if cloud else _text(body, "toCommit", "message"),
    )


def _read_registry(event: str, body: dict[str, Any]) -> Push | None:
    diun = _text(body, "image") if "diun_version" in body else ""
    if diun:  # https://crazymax.dev/diun/notif/webhook
        name, _, tag = diun.rpartition(":")
        return Push(event=event, images=((name, tag),))
    found = [each for each in _image_tags(event, body) if each[1] and ":" not in each[1]]
    images = ((f"{registry}/{repository}" if registry else repository, tag) for repository, tag, registry in found)
    tags = dict.fromkeys((repository, tag) for repository, tag, _ in found)
    return Push(event=event, tags=tuple(tags), images=tuple(dict.fromkeys(images))) if tags else None


def _host(url: str) -> str:
    """Return the host of a URL, or of the name of an image with its registry."""
    return url.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _image_tags(event: str, body: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield repositories with their tags and registries; a registry is empty if the payload does not name it."""
    # Docker Hub: https://docs.docker.com/docker-hub/repos/manage/webhooks
    yield _text(body, "repository", "repo_name"), _text(body, "push_data", "tag"), ""
    # Distribution: only pushes count. Our own pull is also an event.
    for item in _registry_events(body):
        if item["action"] == "push":
            yield _text(item, "target", "repository"), _text(item, "target", "tag"), _text(item, "request", "host")
    # Quay: https://docs.quay.io/guides/notifications.html (Repository push); older versions also name each tag's image.
    for tag in body["updated_tags"] if isinstance(body.get("updated_tags"), list | dict) else []:
        yield _text(body, "repository"), tag if isinstance(tag, str) else "", _host(_text(body, "docker_url"))
    # Harbor: https://goharbor.io/docs/main/working-with-projects/project-configuration/configure-webhooks
    if _text(body, "type").lower() in _HARBOR_PUSHES:
        data = dig(body, "event_data") or dig(body, "data")
        for resource in _dicts(dig(data, "resources")):
            registry = _host(_text(resource, "resource_url"))
            yield _text(data, "repository", "repo_full_name"), _text(resource, "tag"), registry
    # GHCR: https://docs.github.com/webhooks/webhook-events-and-payloads (package, registry_package)
    for name in ("package", "registry_package"):
        package = dig(body, name)
        owner = _text(package, "owner", "login") or _text(package, "namespace")
        repository = f"{owner}/{_text(package, 'name')}"
        registry = _host(_text(package, "package_version", "package_url"))
        yield repository, _text(package, "package_version", "container_metadata", "tag", "name"), registry
        for metadata in _dicts(dig(package, "package_version", "docker_metadata")):  # GitHub's older registry
            for tag in metadata["tags"] if isinstance(metadata.get("tags"), list) else []:
                yield repository, tag if isinstance(tag, str) else "", registry
        # Gitea: https://docs.gitea.com/usage/webhooks (package)
        if _text(package, "type") == "container":
            yield repository, _text(package, "version"), _host(_text(package, "html_url"))
