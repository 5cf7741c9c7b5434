"""The commands that `documentation` finds on a page."""

from pathlib import Path

from tests.support.documentation import Command, commands

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


def test_commands_are_what_a_shell_runs_at_once(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    assert commands(page) == [
        Command("first --option   # why", 3),
        Command("second \\\n    --more", 9),
        Command("cat > file <<'END'\nit's here\nEND", 12),
        Command("until third; do\n    sleep 1\ndone", 15),
        Command("fourth", 22),
        Command('fifth "a\nb"', 25),
        Command("sixth", 28),
    ]
