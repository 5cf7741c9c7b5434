"""The order of the services that a call of a group reaches, decided from values."""

from typing import NamedTuple

import pytest

from tutumd.errors import ConflictError, Reason
from tutumd.model.groups import Sequence
from tutumd.store.queue.group_calls import Order, order_services


class Member(NamedTuple):
    uuid: str
    full_name: str
    name: str
    engine: str
    stack: str
    after: tuple[str, ...]


def member(name: str, *after: str, engine: str = "docker", stack: str = "shop", shown: str = "") -> Member:
    return Member(
        uuid=f"{engine}/{stack}/{name}",
        full_name=shown or f"{stack}/{name}",
        name=name,
        engine=engine,
        stack=stack,
        after=after,
    )


def order(sequence: Sequence, *members: Member) -> tuple[list[str], dict[str, list[str]], dict[str, Reason]]:
    """Return the order, the predecessors and the notes, with names instead of UUIDs."""
    names = {each.uuid: each.name for each in members}
    found = order_services(members, sequence)
    return (
        [names[uuid] for uuid in found.uuids],
        {names[uuid]: [names[before] for before in all_before] for uuid, all_before in found.predecessors.items()},
        {names[uuid]: note for uuid, note in found.notes.items()},
    )


WEB, DB = member("web", "db", "cache"), member("db")


def test_services_without_a_sequence_stay_as_they_are() -> None:
    assert order(Sequence.NONE, WEB, DB) == (["web", "db"], {}, {})
    assert order_services([], Sequence.LISTED) == Order((), {}, {})


def test_each_listed_service_follows_the_one_before() -> None:
    assert order(Sequence.LISTED, WEB, DB, member("a")) == (["web", "db", "a"], {"db": ["web"], "a": ["db"]}, {})


def test_a_service_follows_those_that_it_depends_on() -> None:
    layers = [member("proxy", "web", "api"), member("web", "api"), member("api", "db"), DB]
    assert order(Sequence.DEPENDS_ON, *layers) == (
        ["db", "api", "web", "proxy"],
        {"proxy": ["web", "api"], "web": ["api"], "api": ["db"]},
        {},
    )


def test_a_dependency_outside_of_the_group_is_noted() -> None:
    others = [member("cache", engine="swarm"), member("mail", stack="blog")]
    ordered = order(Sequence.DEPENDS_ON, member("web", "db", "cache", "mail"), DB, *others)
    assert ordered[1:] == ({"web": ["db"]}, {"web": Reason("no-such-member", ("cache, mail",))})


def test_a_service_of_swarm_is_also_known_without_its_stack() -> None:
    swarm = {"engine": "swarm", "stack": "shop"}
    assert order(
        Sequence.DEPENDS_ON, member("shop_web", "db", "shop_cache", **swarm), member("shop_db", **swarm),
        member("shop_cache", **swarm),
    ) == (["shop_db", "shop_cache", "shop_web"], {"shop_web": ["shop_db", "shop_cache"]}, {})  # fmt: skip


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ([member("a", "a")], "shop/a after shop/a"),
        (
            [member("d", "a"), member("a", "b"), member("b", "c"), member("c", "a")],
            "shop/a after shop/b after shop/c after shop/a",
        ),
    ],
)
def test_a_cycle_is_refused_with_its_path(members: list[Member], path: str) -> None:
    with pytest.raises(ConflictError, match=f"^the services depend on each other in a cycle: {path}$"):
        order_services(members, Sequence.DEPENDS_ON)
