"""The blocks and commands that `documentation` finds on a page."""

from pathlib import Path

import pytest

from tests.support.documentation import Block, Command, blocks, commands

PAGE = """\
# Page

    first --option   # why
    # a comment

Text.

```sh
second \\
    --more

cat > file <<'END'
it's here
END
until third; do
    sleep 1
done
```

1. In a list:

        fourth

```console
$ fifth "a
> b"
output
$ sixth
```

```yaml
key: value
```
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def test_blocks_have_a_language_and_a_line(page: Path) -> None:
    assert [(block.language, block.line) for block in blocks(page)] == [
        ("sh", 3), ("sh", 9), ("sh", 22), ("console", 25), ("yaml", 32)
    ]  # fmt: skip
    assert blocks(page)[-1] == Block("key: value\n", "yaml", 32)


def test_commands_are_what_a_shell_runs_at_once(page: Path) -> None:
    assert commands(page) == [
        Command("first --option   # why", 3),
        Command("second \\\n    --more", 9),
        Command("cat > file <<'END'\nit's here\nEND", 12),
        Command("until third; do\n    sleep 1\ndone", 15),
        Command("fourth", 22),
        Command('fifth "a\nb"', 25),
        Command("sixth", 28),
    ]


def test_a_command_without_an_end_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("```sh\necho 'a\n```\n")
    with pytest.raises(ValueError, match="does not end: echo 'a"):
        commands(path)
