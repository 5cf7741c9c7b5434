"""Changes of the number of replicas that are refused."""

import pytest

from tests.unit.swarm.values import spec, view
from tutumd.engines.swarm.scale import plan_scaling
from tutumd.errors import EngineRefusedError


@pytest.mark.parametrize(
    ("mode", "reason"), [({"Global": {}}, "the service web is global"), ({"ReplicatedJob": {}}, "is a job")]
)
def test_only_replicated_services_are_scaled(mode: dict[str, object], reason: str) -> None:
    with pytest.raises(EngineRefusedError, match=reason):
        plan_scaling(view(spec(Mode=mode)), 2, 100)


def test_the_cap_limits_the_replicas() -> None:
    plan_scaling(view(spec()), 3, 3)
    with pytest.raises(EngineRefusedError, match="at most 3 containers here, got 4"):
        plan_scaling(view(spec()), 4, 3)


def test_room_for_replicas_counts_the_nodes_that_take_any() -> None:
    narrow = spec(replicas=1)
    narrow["TaskTemplate"]["Placement"]["MaxReplicas"] = 2
    plan_scaling(view(narrow), 2, 100)
    with pytest.raises(EngineRefusedError, match="3 have no room"):
        plan_scaling(view(narrow), 3, 100)
    narrow["Mode"]["Replicated"]["Replicas"] = 5
    plan_scaling(view(narrow), 4, 100)
