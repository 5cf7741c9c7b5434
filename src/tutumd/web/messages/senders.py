"""The table of senders: when each sender calls, how it can sign, and what to enter in its form, in its own terms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from operator import attrgetter
from typing import Any

from tutumd.application.admission.identity import IssuerKind
from tutumd.model import Operation


class Kind(StrEnum):
    """The kind of event for which a sender calls. The form sends the value."""

    BRANCH = "branch"
    """Commits that were pushed to a branch."""
    TAG = "tag"
    """A tag that was pushed in Git."""
    IMAGE = "image"
    """An image that was pushed to a registry."""
    ALERT = "alert"
    ANY = "any"


KIND_LABELS = {Kind.BRANCH: "a branch", Kind.TAG: "a tag in Git"}
OPERATION_LABELS = {
    Operation.REDEPLOY: "redeploy: pull the image and replace the containers",
    Operation.SCALEUP: "scale up: add a container",
    Operation.ROLLBACK: "roll back: return to the image that ran before",
}


class Blank(StrEnum):
    """A value that a page inserts into a field of a sender."""

    URL = "url"
    SECRET = "secret"  # noqa: S105 (the name of a blank)
    EVENTS = "events"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """A program that calls handlers.

    Attributes:
        key: Name of the sender in forms and addresses.
        label: Its label in the list of senders; empty: its name.
        group: Heading of the list of senders under which it appears.
        tells: When it calls, as the end of "Calls when …".
        kinds: The choices of events; the first is the default.
        verify: Fields of `verify`, without secrets; None if it signs nothing.
        issuer: Kind of the issuer of its identity tokens; None if it has none.
        job: What to do with the job to paste if it calls with identity tokens.
        proof_field: Location of the secret at the sender.
        tag_source: Expression that returns the pushed image tag.
        names_repository: Whether one of its webhooks may serve several repositories.
        operations: The possible operations of a call; the first is the default.
        is_remote: Whether it usually calls from the internet, with a publicly known name.
        place: Location of its form; without a form, what to do with the text to paste.
        paste: What to do with the text to paste, if there is a form, too.
        entries: The fields of its form: the name of each, and what to enter or choose, or a `Blank`.
        events: Choices for its events, by kind.
        first_call: How to make it call for the first time.
        resend: Where it sends a call again.
    """

    key: str
    name: str
    group: str
    tells: str
    kinds: tuple[Kind, ...]
    verify: Mapping[str, Any] | None = None
    issuer: IssuerKind | None = None
    job: str = ""
    proof_field: str = ""
    label: str = ""
    tag_source: str = ""
    names_repository: bool = False
    operations: tuple[Operation, ...] = (Operation.REDEPLOY,)
    is_remote: bool = True
    place: str = ""
    paste: str = ""
    entries: tuple[tuple[str, str], ...] = ()
    events: Mapping[Kind, str] = field(default_factory=dict)
    first_call: str
    resend: str = ""


_GIT, _REGISTRY, _OTHER = "Git servers", "Registries", "Pipelines, scripts and monitoring"
NOTES = {
    _GIT: "A push means that the code changed, not that an image is ready. If you build an image from the code, connect"
    " the registry or the pipeline instead.",
    _REGISTRY: "A registry calls when an image has been pushed.",
    _OTHER: "A pipeline step can wait for the redeploy, and fails if the redeploy fails.",
}

_PUSHES = (Kind.BRANCH, Kind.TAG)
_CALLS = (Operation.REDEPLOY, Operation.SCALEUP)
_ADD_GITHUB = "Settings → Webhooks → Add webhook"
_ADD_JOB = "Add this job to the workflow, after the job that pushes the image:"
_ADD_GITLAB_JOB = "Add this job to .gitlab-ci.yml, in a stage after the job that pushes the image:"
_IDENTITY = {"preset": "oidc"}

_SENDERS = (
    Sender(
        key="github",
        name="GitHub",
        group=_GIT,
        tells="commits or a tag are pushed to a repository",
        kinds=_PUSHES,
        verify={"preset": "github"},
        proof_field="Secret",
        place=f"In the repository: {_ADD_GITHUB}",
        entries=(
            ("Payload URL", Blank.URL),
            ("Content type", "application/json"),
            ("Secret", Blank.SECRET),
            ("Which events would you like to trigger this webhook?", Blank.EVENTS),
        ),
        events={Kind.BRANCH: "Just the push event.", Kind.TAG: "Just the push event."},
        first_call="GitHub sends a ping as soon as you add the webhook.",
        resend="the webhook's page, Recent Deliveries, Redeliver",
    ),
    Sender(
        key="gitlab",
        name="GitLab",
        group=_GIT,
        tells="commits or a tag are pushed to a project",
        kinds=_PUSHES,
        verify={"preset": "gitlab"},
        proof_field="Secret token",
        place="In the project: Settings → Webhooks → Add new webhook",
        entries=(
            ("URL", Blank.URL),
            ("Secret token", Blank.SECRET),
            ("Trigger", Blank.EVENTS),
        ),
        events={Kind.BRANCH: "Push events, All branches", Kind.TAG: "Tag push events"},
        first_call="Push, or choose Test at the webhook: GitLab then sends the last push again.",
        resend="the webhook's page, Recent events, View details, Resend Request",
    ),
    Sender(
        key="gitea",
        name="Gitea or Forgejo",
        group=_GIT,
        tells="commits or a tag are pushed to a repository",
        kinds=_PUSHES,
        verify={"preset": "forgejo"},
        proof_field="Secret",
        place="In the repository: Settings → Webhooks → Add webhook → Gitea or Forgejo",
        entries=(
            ("Target URL", Blank.URL),
            ("HTTP method", "POST"),
            ("POST content type", "application/json"),
            ("Secret", Blank.SECRET),
            ("Trigger on", Blank.EVENTS),
            ("Active", "ticked"),
        ),
        events={Kind.BRANCH: "Push events", Kind.TAG: "Push events"},
        first_call="Push, or press Test delivery (Test push event) on the webhook's page.",
        resend="the webhook's page, Recent deliveries, Replay",
    ),
    Sender(
        key="bitbucket",
        name="Bitbucket",
        group=_GIT,
        tells="commits or a tag are pushed to a repository",
        kinds=_PUSHES,
        verify={"preset": "bitbucket"},
        proof_field="Secret",
        place="In the repository: Repository settings → Webhooks → Add webhook",
        entries=(
            ("Title", "tutumd"),
            ("URL", Blank.URL),
            ("Secret", Blank.SECRET),
            ("Status", "Active"),
            ("Triggers", Blank.EVENTS),
        ),
        events={Kind.BRANCH: "Repository push", Kind.TAG: "Repository push"},
        first_call="Push to the repository.",
        resend="the webhook's page, View requests, Resend",
    ),
    Sender(
        key="dockerhub",
        name="Docker Hub",
        group=_REGISTRY,
        tells="an image is pushed",
        kinds=(Kind.IMAGE,),
        tag_source="body.push_data.tag",
        place="The repository on Docker Hub: Webhooks",
        entries=(
            ("Webhook name", "tutumd"),
            ("Webhook URL", Blank.URL),
        ),
        first_call="Push an image. Docker Hub has no test call.",
    ),
    Sender(
        key="ghcr",
        name="GHCR (GitHub's registry)",
        group=_REGISTRY,
        tells="an image is pushed to ghcr.io",
        kinds=(Kind.IMAGE,),
        verify={"preset": "github"},
        proof_field="Secret",
        # GitHub documents two events for the same push: `registry_package` and the older `package`.
        tag_source="(body.registry_package || body.package).package_version.container_metadata.tag.name",
        names_repository=True,
        place=f"In the repository that the package is linked to, or in the organization: {_ADD_GITHUB}",
        entries=(
            ("Payload URL", Blank.URL),
            ("Content type", "application/json"),
            ("Secret", Blank.SECRET),
            ("Which events would you like to trigger this webhook?", Blank.EVENTS),
        ),
        events={
            Kind.IMAGE: "Let me select individual events: untick Pushes, tick Registry packages (registry_package)."
        },
        first_call="GitHub sends a ping as soon as you add the webhook.",
        resend="the webhook's page, Recent Deliveries, Redeliver",
    ),
    Sender(
        key="harbor",
        name="Harbor",
        group=_REGISTRY,
        tells="an image is pushed to a project",
        kinds=(Kind.IMAGE,),
        verify={"preset": "token", "header": "Authorization"},  # Harbor sends the Auth Header unchanged
        proof_field="Auth Header",
        tag_source="(body.event_data || body.data).resources[0].tag",
        names_repository=True,
        is_remote=False,
        place="In the project: Webhooks → New Webhook",
        entries=(
            ("Name", "tutumd"),
            ("Notify Type", "http"),
            ("Event Type", Blank.EVENTS),
            ("Endpoint URL", Blank.URL),
            ("Auth Header", Blank.SECRET),
        ),
        events={Kind.IMAGE: "Artifact pushed"},
        first_call="Push an image to the project. The webhook's executions show what Harbor got back.",
    ),
    Sender(
        key="quay",
        name="Quay",
        group=_REGISTRY,
        tells="an image is pushed to a repository",
        kinds=(Kind.IMAGE,),
        tag_source="body.updated_tags[0]",
        place="In the repository: Settings → Events and Notifications → Create Notification",
        entries=(
            ("When this event occurs", Blank.EVENTS),
            ("Then issue a notification", "Webhook POST"),
            ("Webhook URL", Blank.URL),
            ("POST JSON body template", "leave it empty"),
        ),
        events={Kind.IMAGE: "Push to Repository"},
        first_call="Push an image, or choose Test Notification in the notification's menu.",
    ),
    Sender(
        key="github-actions",
        name="GitHub Actions",
        group=_OTHER,
        tells="a job of your workflow runs the step, for example after it has pushed an image",
        kinds=(Kind.ANY,),
        verify=_IDENTITY,
        issuer=IssuerKind.GITHUB,
        job=_ADD_JOB,
        operations=_CALLS,
        place="In the repository: Settings → Secrets and variables → Actions → New repository secret",
        entries=(("Name", "TUTUM_URL"), ("Secret", Blank.URL)),
        paste="Add this step to a job of the workflow, after the step that pushes the image:",
        first_call="Run the workflow. The step fails if the redeploy fails.",
        resend="the run's page, Re-run jobs",
    ),
    Sender(
        key="forgejo-actions",
        name="Forgejo Actions",
        group=_OTHER,
        tells="a job of your workflow runs the step, for example after it has pushed an image",
        kinds=(Kind.ANY,),
        verify=_IDENTITY,
        issuer=IssuerKind.FORGEJO,
        job=_ADD_JOB,
        operations=_CALLS,
        is_remote=False,
        place="In the repository: Settings → Actions → Secrets → Add secret",
        entries=(("Name", "TUTUM_URL"), ("Value", Blank.URL)),
        paste="Add this step to a job of the workflow, after the step that pushes the image:",
        first_call="Run the workflow. The step fails if the redeploy fails.",
        resend="the run's page, Re-run all jobs",
    ),
    Sender(
        key="gitlab-ci",
        name="GitLab CI",
        group=_OTHER,
        tells="your pipeline runs the job, for example after it has pushed an image",
        kinds=(Kind.ANY,),
        verify=_IDENTITY,
        issuer=IssuerKind.GITLAB,
        job=_ADD_GITLAB_JOB,
        operations=_CALLS,
        place="In the project: Settings → CI/CD → Variables → Add variable",
        entries=(
            ("Visibility", "Masked"),
            ("Flags", "untick Protect variable if branches that are not protected deploy, too"),
            ("Key", "TUTUM_URL"),
            ("Value", Blank.URL),
        ),
        paste=_ADD_GITLAB_JOB,
        first_call="Run the pipeline. The job fails if the redeploy fails.",
        resend="the job's page, Retry",
    ),
    Sender(
        key="curl",
        name="curl",
        label="A pipeline or script, by curl",
        group=_OTHER,
        tells="your script runs it, for example after it has pushed an image",
        kinds=(Kind.ANY,),
        operations=_CALLS,
        is_remote=False,
        place="Store the URL where the pipeline or script keeps its secrets",
        entries=(("Variable", "TUTUM_URL"), ("Value", Blank.URL)),
        paste="Run this command with that variable:",
        first_call="Run it in a terminal, in a script, or as a step of the pipeline after the image is pushed.",
    ),
    Sender(
        key="alertmanager",
        name="Alertmanager",
        group=_OTHER,
        tells="an alert fires, and again while it lasts",
        kinds=(Kind.ALERT,),
        verify={"preset": "token"},
        proof_field="credentials",
        operations=(Operation.SCALEUP, Operation.REDEPLOY, Operation.ROLLBACK),
        is_remote=False,
        place="Add this to alertmanager.yml",
        first_call="Reload Alertmanager. Then wait for an alert, or fire one:"
        " amtool --alertmanager.url=http://localhost:9093 alert add HighLoad",
    ),
)

SENDERS: Mapping[str, Sender] = {sender.key: sender for sender in _SENDERS}


def find_sender(key: str, preset: str = "") -> Sender | None:
    """Return a sender by its key, else the first sender whose signature a handler's `verify` reads; None if unknown."""
    by_preset = (each for each in SENDERS.values() if preset and each.verify and each.verify["preset"] == preset)
    return SENDERS.get(key) or next(by_preset, None)


def group_senders() -> dict[str, list[Sender]]:
    """Return the senders by heading."""
    return {group: list(senders) for group, senders in groupby(SENDERS.values(), key=attrgetter("group"))}
