from pathlib import Path

import pytest

from tutumd.engines.local.processes import Processes, SpawnError


def test_an_output_that_cannot_be_written_is_the_reason(tmp_path: Path) -> None:
    with pytest.raises(SpawnError, match="its output cannot be written: No such file"):
        Processes("boot").spawn("true", environment={}, directory=tmp_path, output=tmp_path / "missing" / "a.log")
