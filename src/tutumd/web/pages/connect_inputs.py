"""The form of a sender: its initial values, and the form of a handler or a group that it fills."""

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import chain, count
from typing import Any

from tutumd.application.admission.identity import IssuerKind
from tutumd.application.admission.json_checks import split_texts
from tutumd.model import Operation, Service
from tutumd.model.images import split_image
from tutumd.web.messages.senders import Kind, Sender

DEFAULT_CAP = "10"

_PROJECT_OF_IMAGE = re.compile(r"(?:ghcr\.io|registry\.gitlab\.com)/([^/:@]+/[^/:@]+).*")
_HARBOR_IMAGE = re.compile(r"(?!docker\.io/|ghcr\.io/|quay\.io/)[^/]*[.:][^/]*/(.+?)(:[^/]*)?")


def propose(sender: Sender, image: str, taken: Collection[str] = (), issuers: Sequence[str] = ()) -> dict[str, str]:
    """Return the initial values of a sender's form. A checked box has the value `1`.

    Args:
        image: The service's.
        taken: Names of the service's other handlers: commands accept a handler's name only if it is unique.
        issuers: Allowed issuers of the sender's identity tokens.
    """
    kind = sender.kinds[0]
    project = _PROJECT_OF_IMAGE.fullmatch(image)
    harbor = _HARBOR_IMAGE.fullmatch(image.partition("@")[0]) if sender.key == "harbor" else None
    names = chain([sender.key], (f"{sender.key}-{number}" for number in count(2)))
    return {
        "name": next(name for name in names if name not in taken),
        "kind": kind.value,
        "patterns": {Kind.BRANCH: "main", Kind.IMAGE: split_image(image)[1] or "latest"}.get(kind, ""),
        "repository": harbor[1] if harbor else "",
        "deploys_tag": "",
        "operation": sender.operations[0].value,
        "max_containers": DEFAULT_CAP,
        "skips_unchanged": "",
        "verifies": "1" if sender.verify and (issuers or not sender.issuer) else "",
        "issuer": next(iter(issuers), ""),
        "project": project[1] if project else "",
        "branch": "main",
    }


def fill_form(sender: Sender, sent: Mapping[str, str], secret: str) -> dict[str, str]:
    """Return the texts of a handler's form that fits a sender.

    Args:
        sent: Fields of the sender's form, as `propose` returns them.
        secret: Secret for the sender, if the form requires one.
    """
    kind, operation = _find_kind(sender, sent), sender.operations[0].value
    if sent.get("operation") in sender.operations:
        operation = sent["operation"]
    patterns = sent.get("patterns", "")
    texts = {"name": sent.get("name", "").strip() or sender.key, "operation": operation}
    if sender.verify and sent.get("verifies"):
        texts |= {f"verify.{key}": value for key, value in sender.verify.items()}
        identity = {f"verify.{name}": sent[name] for name in ("issuer", "audience") if sent.get(name)}
        identity["verify.claims"] = _write_claims(sender, sent)
        texts |= identity if sender.issuer else {"verify.secrets": secret}
    match kind:
        case Kind.BRANCH:
            texts["filter.branch.branch"] = patterns
        case Kind.TAG | Kind.IMAGE:
            repository = sent.get("repository", "") if sender.names_repository else ""
            texts |= {"filter.tag.tag": patterns, "filter.tag.repository": repository}
        case Kind.ALERT:
            texts["filter.expression"] = "body.status == 'firing'"
    if operation == Operation.REDEPLOY and sent.get("skips_unchanged"):
        texts["skip_unchanged"] = "true"
    if operation == Operation.SCALEUP:
        texts["max_containers"] = sent.get("max_containers", "").strip() or DEFAULT_CAP
    elif sender.tag_source and sent.get("deploys_tag"):
        texts |= {"tag.allow": patterns, "tag.from": sender.tag_source}
    elif kind is Kind.ANY:
        texts["tag.allow"] = patterns
    return texts


def _write_claims(sender: Sender, sent: Mapping[str, str]) -> str:
    """Return the claims of the jobs that may call, as the form of a handler takes them."""
    project, branches = sent.get("project", "").strip() or "OWNER/NAME", split_texts(sent.get("branch", ""))
    is_gitlab = sender.issuer is IssuerKind.GITLAB
    claims = [f"{'project_path' if is_gitlab else 'repository'} = {project}"]
    if branches:
        claims += ["ref_type = branch"] * is_gitlab
        refs = (branch if is_gitlab else f"refs/heads/{branch}" for branch in branches)
        claims.append(f"ref = {', '.join(refs)}")
    return "\n".join(claims)


def _find_kind(sender: Sender, sent: Mapping[str, str]) -> Kind:
    return next((kind for kind in sender.kinds if kind == sent.get("kind")), sender.kinds[0])


def check_form(sender: Sender, sent: Mapping[str, str]) -> dict[str, str]:
    """Return the error of a form that would scale up or roll back several services, that names no branch or tag,
    although its sender calls for all of them, or whose tokens may be anyone's.
    """
    if sent.get("reach") and sent.get("operation", "REDEPLOY") != Operation.REDEPLOY:
        return {"operation": "a call for several services redeploys them: choose redeploy, or only this service"}
    if sender.issuer and sent.get("verifies") and not sent.get("project", "").strip():
        return {"project": "name the repository whose jobs may call, such as me/shop"}
    kind = _find_kind(sender, sent)
    if kind in (Kind.ALERT, Kind.ANY) or split_texts(sent.get("patterns", "")):
        return {}
    word, example = ("branch", "main") if kind is Kind.BRANCH else ("tag", "v*")
    return {"patterns": f"name the {word} that counts, such as {example}"}


def list_reaches(sender: Sender, service: Service) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Return the services that a call may redeploy: labels and selectors of groups, as JSON; `{}` is no group."""
    reaches: dict[str, tuple[str, Mapping[str, Any]]] = {"": (f"only {service.full_name}", {})}
    image, stack = split_image(service.image_name)[0], service.part_of or service.stack
    if sender.kinds[0] is Kind.IMAGE and service.image_name:
        reaches["image"] = (f"all services that run {image} with the pushed tag", {"match": {"image": image}})
    if sender.kinds[0] in (Kind.IMAGE, Kind.ANY) and stack:
        reaches["stack"] = (f"all services of the stack {stack}", {"stack": stack, "engine": service.engine})
    return reaches
