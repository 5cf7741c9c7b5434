"""A release after this one: the same code, and a migration that adds a column."""

import shutil
from pathlib import Path

import tutumd
from tutumd.store.tables import schema
from tutumd.store.tables.upgrade import SCRIPTS

HEAD = "2"
_MIGRATION = f'''
import sqlalchemy as sa
from alembic import op

revision, down_revision = "{HEAD}", "{schema.HEAD}"


def upgrade() -> None:
    op.add_column("services", sa.Column("colour", sa.String(20), nullable=True))
'''


def write_scripts(folder: Path) -> Path:
    """Write the migrations of that release to a new folder, and return it."""
    shutil.copytree(SCRIPTS, folder)
    (folder / "versions" / "v2_colours.py").write_text(_MIGRATION)
    return folder


def write_source(folder: Path) -> Path:
    """Write the source of that release to a new folder, and return the folder of its packages."""
    shutil.copytree(Path(tutumd.__file__).parents[1], folder, ignore=shutil.ignore_patterns("__pycache__"))
    head = folder / "tutumd/store/tables/schema.py"
    text = head.read_text()
    assert text.count(f'HEAD = "{schema.HEAD}"') == 1
    head.write_text(text.replace(f'HEAD = "{schema.HEAD}"', f'HEAD = "{HEAD}"'))
    (folder / "tutumd/store/tables/migrations/versions/v2_colours.py").write_text(_MIGRATION)
    return folder
