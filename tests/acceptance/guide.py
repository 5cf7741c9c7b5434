"""A page of the documentation, followed as a reader does: its blocks of commands, run by a shell."""

from collections.abc import Mapping
from pathlib import Path

from tests.support.documentation import Block, blocks, commands_of
from tests.support.programs import finished


class Guide:
    """The commands of one page, run in a folder.

    Args:
        page: Its path, relative to the root of the repository.
        environment: Of the shell.
        replace: Texts of the page and what stands for them here, such as the server's URL. Each must occur.
    """

    def __init__(self, page: str, folder: Path, environment: Mapping[str, str], replace: Mapping[str, str]) -> None:
        self._page = page
        self._folder = folder
        self._environment = dict(environment)
        self._replace = dict(replace)
        text = "".join(block.text for block in blocks(page))
        assert [each for each in replace if each not in text] == [], f"{page} has none of these"

    def block(self, begins: str) -> Block:
        """Return the one block of commands that begins like this."""
        [found] = [each for each in blocks(self._page) if each.text.removeprefix("$ ").startswith(begins)]
        return found

    def run(self, begins: str, *, code: int = 0, stdin: str = "", **variables: str) -> str:
        """Run all commands of the block that begins like this, check the exit code, and return what they printed."""
        script = "\n".join(command.text for command in commands_of(self.block(begins)))
        for text, here in self._replace.items():
            script = script.replace(text, here)
        done = finished(["sh", "-euc", script], cwd=self._folder, env=self._environment | variables, input=stdin)
        assert done.returncode == code, (script, done.stdout, done.stderr)
        return done.stdout + done.stderr
