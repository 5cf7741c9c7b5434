"""What users may set on groups, and which rights that takes."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.services import service_row
from tutumd.application import groups, handlers
from tutumd.application.admission.encryption import SecretCipher, make_key
from tutumd.errors import ForbiddenError, InvalidInputError, NotFoundError, TutumdError
from tutumd.model import Access, Handler, NewHandler, Page, Query, User
from tutumd.model.groups import GroupSelector, OnFailure, Sequence

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIELDS = handlers.FieldContext(cipher=SecretCipher([make_key()]), now=NOW, issuers={})
ANN = User(uuid="ann", name="ann", is_admin=False, created=NOW)
STACKS = {("docker", "web"): "shop", ("docker", "db"): "shop", ("docker", "blog"): "both", ("swarm", "mail"): "both"}
SERVICES = {
    name: replace(service_row(engine=engine, selector=name), uuid=f"uuid-{name}", name=name, stack=stack)
    for (engine, name), stack in STACKS.items()
}


class FakeStore(SimpleNamespace):
    """A store with four services and at most one group."""

    made: Handler

    def services(self, _viewer: User, query: Query) -> Page[Any]:
        [(name, value)] = query.filters.items()
        tests = {
            "reference": lambda each: value in (each.uuid, each.name),
            "group_stack": lambda each: each.stack == value,
        }
        found = tuple(filter(tests[name], SERVICES.values()))
        return Page(objects=found, total=len(found))

    def add_handlers(self, _viewer: User, service_uuid: str, entries: Any) -> tuple[Handler]:
        assert service_uuid == ""
        values = {name: getattr(entries[0], name) for name in NewHandler.__slots__}
        self.made = Handler(**values, uuid="g", service_uuid="", number=1, owner="ann", created=NOW)
        return (self.made,)

    def handler(self, _viewer: User, _service_uuid: str, _uuid: str) -> Handler:
        return self.made

    def change_handler(self, viewer: User, service_uuid: str, _uuid: str, change: Any, **_: bool) -> Handler:
        return self.add_handlers(viewer, service_uuid, [change(self.made)])[0]


@pytest.fixture
def store() -> Any:
    return FakeStore()


def create(store: Any, viewer: User = ANN, **document: Any) -> Handler:
    return handlers.create(store, viewer, "", [document], FIELDS)[0]


@pytest.mark.parametrize(
    ("document", "selector"),
    [
        ({"services": ["web", "uuid-db"]}, GroupSelector(services=("uuid-web", "uuid-db"))),
        ({"stack": "shop"}, GroupSelector(stack="shop", engine="docker")),
        ({"stack": "both", "engine": "swarm", "match": None}, GroupSelector(stack="both", engine="swarm")),
        ({"match": {"image": "ghcr.io/me/*"}}, GroupSelector(image="ghcr.io/me/*")),
    ],
)
def test_a_selector_is_kept_as_uuids_as_a_stack_of_one_engine_or_as_a_glob(
    store: Any, document: dict[str, Any], selector: GroupSelector
) -> None:
    made = create(store, **document)
    assert (made.selector, made.sequence, made.on_failure) == (selector, Sequence.NONE, OnFailure.CANCEL)
    again = {name: value for name, value in groups.show_fields(made).items() if value is not None}
    assert create(store, **again) == made


@pytest.mark.parametrize(
    ("document", "error", "said"),
    [
        ({}, InvalidInputError, "name one of services, stack and match"),
        ({"services": None}, InvalidInputError, "name one of services, stack and match"),
        ({"stack": "shop", "services": ["web"]}, InvalidInputError, "name one of services, stack and match"),
        ({"services": ["web"], "engine": "docker"}, InvalidInputError, "engine goes with stack"),
        ({"engine": "docker"}, InvalidInputError, "engine goes with stack"),
        ({"services": []}, InvalidInputError, "services must be a list of 1 to 50 services, got 0"),
        ({"services": ["web"] * 51}, InvalidInputError, "services must be a list of 1 to 50 services, got 51"),
        ({"services": ["web", "uuid-web"]}, InvalidInputError, "services has a service twice: 'uuid-web'"),
        ({"services": ["web", "nothing"]}, NotFoundError, "ann has no service 'nothing'"),
        ({"stack": ""}, InvalidInputError, "stack must have 1 to 255 characters, got 0"),
        ({"stack": "nothing"}, InvalidInputError, "ann has no service in the stack 'nothing'"),
        ({"stack": "both"}, InvalidInputError, "engine must be one of docker, swarm; got None"),
        ({"stack": "shop", "engine": "swarm"}, InvalidInputError, "engine must be one of docker; got 'swarm'"),
        ({"match": {"image": "*" * 2_000}}, InvalidInputError, "match.image must have 1 to 200 characters, got 2000"),
        ({"match": {"image": ""}}, InvalidInputError, "match.image must have 1 to 200 characters"),
        ({"match": {"imag": "x"}}, InvalidInputError, "did you mean image?"),
        ({"match": {}}, InvalidInputError, "match.image must be a text, got None"),
        (
            {"stack": "shop", "sequence": "random"},
            InvalidInputError,
            "sequence must be one of none, listed, depends_on",
        ),
        ({"stack": "shop", "on_failure": "stop"}, InvalidInputError, "on_failure must be one of cancel, continue"),
        ({"stack": "shop", "sequence": "listed"}, InvalidInputError, "sequence can be listed only with services"),
        ({"stack": "shop", "sequenc": "none"}, InvalidInputError, "unknown field 'sequenc': did you mean sequence?"),
        ({"stack": "shop", "operation": "SCALEUP"}, InvalidInputError, "unknown field 'operation'"),
        ({"stack": "shop", "max_containers": 3}, InvalidInputError, "unknown field 'max_containers'"),
        ({"stack": "shop", "rollback_hold": False}, InvalidInputError, "unknown field 'rollback_hold'"),
        ({"stack": "shop", "debounce": -1}, InvalidInputError, "debounce must be a whole number"),
        ({"stack": "shop", "name": "a\nb"}, InvalidInputError, "name must not contain control characters"),
    ],
)
def test_bad_input_is_refused_with_the_way_out(
    store: Any, document: dict[str, Any], error: type[TutumdError], said: str
) -> None:
    with pytest.raises(error) as refused:
        create(store, **document)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("limits", "document", "is_covered"),
    [
        ({"service_uuid": "uuid-web"}, {"services": ["web"]}, False),
        ({"service_uuid": "uuid-web"}, {"stack": "shop"}, False),
        ({"stack": "shop"}, {"stack": "shop"}, True),
        ({"stack": "shop"}, {"services": ["web"]}, False),
        ({"stack": "shop"}, {"stack": "both", "engine": "swarm"}, False),
        ({"stack": "shop"}, {"match": {"image": "*"}}, False),
    ],
)
def test_a_narrow_key_makes_groups_of_what_it_covers(
    store: Any, limits: dict[str, Any], document: dict[str, Any], is_covered: bool
) -> None:
    viewer = replace(ANN, access=Access(**limits))
    if is_covered:
        assert create(store, viewer, **document)
    else:
        with pytest.raises(ForbiddenError, match="this key is for the"):
            create(store, viewer, **document)


def test_a_change_keeps_what_it_does_not_name(store: Any) -> None:
    create(store, name="all", services=["web", "db"], sequence="listed", verify={"preset": "github", "secrets": ["s1"]})
    before = store.made

    def changed(**document: Any) -> Handler:
        store.made = before
        planned = handlers.plan_change(store, ANN, "", "g", document, FIELDS)
        assert store.made is before
        after = handlers.change(store, ANN, "", "g", document, FIELDS)
        assert {name: getattr(planned.after, name) for name in NewHandler.__slots__ if name != "options"} == {
            name: getattr(after, name) for name in NewHandler.__slots__ if name != "options"
        }
        store.changes = dict(planned.changes)
        return after

    assert changed() == before
    assert store.changes == {}
    assert changed(debounce=5).options == {**before.options, "debounce": 5}
    assert store.changes == {"debounce": 5}
    assert changed(name=None, on_failure="continue", sequence=None).selector == before.selector
    assert store.changes == {"name": None, "sequence": "none", "on_failure": "continue"}
    assert changed(stack="shop", sequence="depends_on").selector == GroupSelector(stack="shop", engine="docker")
    assert store.changes == {"services": None, "stack": "shop", "engine": "docker", "sequence": "depends_on"}
    with pytest.raises(InvalidInputError, match="sequence can be listed only with services"):
        changed(stack="shop")


def test_a_plan_of_a_new_group_shows_what_differs_from_the_defaults(store: Any) -> None:
    document = {"name": "all", "stack": "shop", "max_uses": 3, "on_failure": "cancel"}
    [planned] = handlers.plan_creation(store, ANN, "", [document], FIELDS)
    assert dict(planned.changes) == {"name": "all", "stack": "shop", "engine": "docker", "max_uses": 3}
    assert not hasattr(store, "made")
