from dataclasses import replace

import pytest

from tests.unit.local.values import NEW, NOON, OLD, container, identity, record
from tutumd.engines.local.records import RECORD_JSON, Change, ContainerRecord, definition_digest, replace_container
from tutumd.model import Definition

INCOMING = ContainerRecord(id="new-1", number=1, slot="new-1")
FULL = record(
    1,
    leaving=(container(2, ended=NOON, exit_code=137, restarts=3),),
    change=Change(action="a", definition=NEW, image_name="i", target=1, keep=(1,), incoming=(INCOMING,), note="n"),
    stopped=True,
)


@pytest.mark.parametrize("value", [FULL, record(settled="")])
def test_a_record_reads_back_as_it_was_written(value: object) -> None:
    assert isinstance(value, type(FULL))
    assert RECORD_JSON.validate_json(RECORD_JSON.dump_json(value)) == value


def test_a_record_of_another_format_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="Input should be 1"):
        RECORD_JSON.validate_json(RECORD_JSON.dump_json(FULL, indent=1).replace(b'"format": 1', b'"format": 2'))


def test_an_incoming_container_is_replaced_in_its_place() -> None:
    started = replace(INCOMING, process=identity(9))
    changed = replace_container(FULL, started)
    assert changed.change is not None
    assert changed.change.incoming == (started,)
    assert changed.containers == FULL.containers


def test_the_digest_tells_definitions_apart_and_nothing_else() -> None:
    assert definition_digest(OLD) == definition_digest(Definition(command="run old"))
    assert definition_digest(OLD) != definition_digest(NEW)
    sorted_envvars, reversed_envvars = {"A": "1", "B": "2"}, {"B": "2", "A": "1"}
    digests = [definition_digest(replace(OLD, envvars=e)) for e in (sorted_envvars, reversed_envvars)]
    assert digests[0] == digests[1]
