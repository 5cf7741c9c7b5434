"""The engine `kubernetes`. Needs the official client, which the extra `kubernetes` installs."""

from tutumd.engines.kubernetes.connection import find_access
from tutumd.engines.kubernetes.engine import KubernetesEngine
from tutumd.engines.kubernetes.registry import asks_registries

__all__ = ["KubernetesEngine", "asks_registries", "find_access"]
