"""The wheel of this checkout."""

import sys
from pathlib import Path

from tests.support.programs import check

ROOT = Path(__file__).parents[2]


def build_wheel(folder: Path, root: Path = ROOT) -> Path:
    """Build the wheel into a folder, without any network, and return its path."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    check([*command, "--wheel-dir", folder, root])
    (wheel,) = folder.glob("tutumd-*.whl")
    return wheel
