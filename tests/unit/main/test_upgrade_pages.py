"""UPGRADING.md and DEPRECATIONS.md say what the code does."""

from pathlib import Path

import typer

from tutum.version import __version__
from tutumd.main.commands import app
from tutumd.store.tables.schema import HEAD
from tutumd.store.tables.upgrade import SCRIPTS

ROOT = Path(__file__).parents[3]
UPGRADING, DEPRECATIONS = ((ROOT / f"{name}.md").read_text() for name in ("UPGRADING", "DEPRECATIONS"))
MIGRATIONS = SCRIPTS / "versions"


def rows(page: str, heading: str = "") -> list[list[str]]:
    """Return the cells of the first table below a heading, without its head."""
    part = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0] if heading else page
    table = [line for line in part.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table[2:]]


def first_table(page: str) -> list[list[str]]:
    return rows(page.partition("\n\n")[2].partition("\nThis holds")[0])


def test_the_newest_version_is_listed_with_its_schema() -> None:
    newest, *older = first_table(UPGRADING)
    assert newest[0].split()[0] == __version__
    assert newest[1] == HEAD
    assert all(row[1] <= newest[1] for row in older)


def test_there_is_a_migration_for_each_schema() -> None:
    assert len(list(MIGRATIONS.glob("v*.py"))) == int(HEAD)


def test_each_deprecated_option_is_listed() -> None:
    commands = typer.main.get_command(app)
    found = {
        f"{command.name} {option.name}"
        for command in getattr(commands, "commands", {}).values()
        for option in command.params
        if getattr(option, "deprecated", False) or getattr(option, "hidden", False)
    }
    assert {each for each in found if each.split()[1] not in DEPRECATIONS} == set()
