"""The form that connects a sender: its fields in plain words."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tutumd.errors import TutumdError
from tutumd.model import Operation
from tutumd.web.messages.senders import Kind, Sender
from tutumd.web.pages.connect_choice import Choice

_KINDS = {Kind.BRANCH: "a branch", Kind.TAG: "a tag in Git"}
_OPERATIONS = {
    Operation.REDEPLOY: "redeploy: pull the image and replace the containers",
    Operation.SCALEUP: "scale up: add a container",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """A field of a form, as the macro `field` takes it."""

    name: str
    label: str
    type: str = "text"
    value: str = ""
    help: str = ""
    example: str = ""
    options: tuple[tuple[str, str], ...] = ()
    checked: bool = False
    mono: bool = False
    required: bool = False
    error: str = ""


_SHOWN_AT = {"filter": "patterns", "tag": "patterns"}
"""Fields of a handler that a field of the form makes."""


def list_fields(
    sender: Sender, choice: Choice, sent: Mapping[str, str] | None = None, error: TutumdError | None = None
) -> list[FormField]:
    """Return the fields to fill in for a sender.

    Args:
        choice: What they hold at first.
        sent: What a form that was refused had instead.
        error: Why it was refused. It stands at the field that it is about, if it is about one.
    """
    counts, effects = _count_fields(sender, choice), _effect_fields(sender, choice)
    fields = [*counts, *effects] if sender.names_changes else [*effects, *counts]
    if sender.verify is not None:
        fields.append(
            FormField(
                name="verifies",
                label="Accept only calls with a secret",
                type="checkbox",
                value="1",
                checked=choice.verifies,
                help=f"tutumd makes the secret; you enter it at {sender.name}, in {sender.proof_field}."
                " Without it, the URL alone is the password.",
            )
        )
    fields.append(
        FormField(
            name="name",
            label="Name of the handler",
            value=choice.name,
            help="For people and commands; senders never see it.",
            required=True,
        )
    )
    return fields if sent is None else [_filled(each, sent, error) for each in fields]


def _count_fields(sender: Sender, choice: Choice) -> list[FormField]:
    fields = []
    if len(sender.kinds) > 1:
        options = tuple((kind.value, _KINDS[kind]) for kind in sender.kinds)
        fields.append(
            FormField(name="kind", label="Act on a push to", type="select", value=choice.kind.value, options=options)
        )
    globs = "* stands for anything; separate several by commas."
    patterns = ", ".join(choice.patterns)
    if Kind.BRANCH in sender.kinds:
        text, example = f"Pushes to anything else do nothing. {globs}", "main, release/*"
        fields.append(FormField(name="patterns", label="Branch or tag", value=patterns, help=text, example=example))
    elif choice.kind is Kind.IMAGE:
        text, example = f"Pushes of other tags do nothing. {globs}", "latest, v1.*"
        fields.append(FormField(name="patterns", label="Image tag", value=patterns, help=text, example=example))
    elif choice.kind is Kind.ANY:
        text = f"Redeploy only: a call may then deploy one of these tags with ?tag=v2. Empty: no other tag. {globs}"
        fields.append(
            FormField(name="patterns", label="Tags that a call may deploy", value=patterns, help=text, example="v*")
        )
    if sender.names_repository:
        text = "Only if one webhook is for several repositories; written as the sender does. Empty: any."
        fields.append(
            FormField(name="repository", label="Repository", value=choice.repository, help=text, example="team/app")
        )
    return fields


def _effect_fields(sender: Sender, choice: Choice) -> list[FormField]:
    fields = []
    if sender.tag_source:
        fields.append(
            FormField(
                name="deploys_tag",
                label="Deploy the tag that was pushed",
                type="checkbox",
                value="1",
                checked=choice.deploys_tag,
                help="For tags such as v1.4.0. Off: pull the tag that the service has, as for latest.",
            )
        )
    if len(sender.operations) > 1:
        options = tuple((each.value, _OPERATIONS[each]) for each in sender.operations)
        value = choice.operation.value
        fields.append(FormField(name="operation", label="A call will", type="select", value=value, options=options))
        fields.append(
            FormField(
                name="max_containers",
                label="At most this many containers",
                type="number",
                value=str(choice.max_containers),
                help="Scale up only: calls add no container beyond this.",
            )
        )
    return fields


def _filled(field: FormField, sent: Mapping[str, str], error: TutumdError | None) -> FormField:
    if error is not None and field.name == _SHOWN_AT.get(error.field, error.field):
        field = replace(field, error=str(error))
    if field.type == "checkbox":
        return replace(field, checked=field.name in sent)
    return replace(field, value=sent.get(field.name, ""))
