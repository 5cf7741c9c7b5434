"""The engine `local`: services are commands of this machine, created through tutumd, and need no container engine."""

from tutumd.engines.local.engine import LocalEngine

__all__ = ["LocalEngine"]
