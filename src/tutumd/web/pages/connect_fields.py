"""The fields of the form that connects a sender."""

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
"""Fields of a handler that the form sets by another field."""


def list_fields(
    sender: Sender, choice: Choice, sent: Mapping[str, str] | None = None, error: TutumdError | None = None
) -> list[FormField]:
    """Return the fields to fill in for a sender.

    Args:
        choice: The initial values.
        sent: The values of a form that was rejected.
        error: Why it was rejected. The error is shown at its field, if it has one.
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
                help=f"tutumd makes the secret. You enter it at {sender.name}, in {sender.proof_field}."
                " Without a secret, the URL is the only password.",
            )
        )
    fields.append(
        FormField(
            name="name",
            label="Name of the handler",
            value=choice.name,
            help="The name is for people and commands. Senders never see it.",
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
    globs = "* matches any characters. Separate several names with commas."
    patterns = ", ".join(choice.patterns)
    if Kind.BRANCH in sender.kinds:
        text, example = f"Other pushes do nothing. {globs}", "main, release/*"
        fields.append(FormField(name="patterns", label="Branch or tag", value=patterns, help=text, example=example))
    elif choice.kind is Kind.IMAGE:
        text, example = f"Pushes of other tags do nothing. {globs}", "latest, v1.*"
        fields.append(FormField(name="patterns", label="Image tag", value=patterns, help=text, example=example))
    elif choice.kind is Kind.ANY:
        text = f"For a redeploy: a call may choose one of these tags with ?tag=v2. If empty, no call can. {globs}"
        fields.append(
            FormField(name="patterns", label="Tags that a call may deploy", value=patterns, help=text, example="v*")
        )
    if sender.names_repository:
        text = "Fill this in if one webhook serves several repositories. Use the sender's spelling of the name."
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
                help="For tags such as v1.4.0. If off, a call pulls the service's current tag again.",
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
                help="For scale up: calls add no containers beyond this number.",
            )
        )
    return fields


def _filled(field: FormField, sent: Mapping[str, str], error: TutumdError | None) -> FormField:
    if error is not None and field.name == _SHOWN_AT.get(error.field, error.field):
        field = replace(field, error=str(error))
    if field.type == "checkbox":
        return replace(field, checked=field.name in sent)
    return replace(field, value=sent.get(field.name, ""))
