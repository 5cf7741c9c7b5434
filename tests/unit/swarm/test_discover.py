"""What the rest of tutumd sees of a Swarm service."""

from dataclasses import replace

from tests.unit.swarm.values import spec, task, view
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.engine import take_snapshot
from tutumd.engines.swarm.spec import is_shown
from tutumd.model import ContainerState, Port, ServiceState


def test_containers_are_the_tasks_that_have_not_ended() -> None:
    shown = take_snapshot(
        view(
            spec(replicas=3),
            task("dead", state="failed"),
            task("stops", desired=False),
            task("runs"),
            task("lost", slot="2", node_ready=False),
            task("comes", slot="3", state="preparing"),
        )
    )
    assert [(container.id, container.name, container.state) for container in shown.containers] == [
        ("stops", "web.1", ContainerState.STOPPING),
        ("runs", "web.1", ContainerState.RUNNING),
        ("lost", "web.2", ContainerState.STOPPED),
        ("comes", "web.3", ContainerState.STARTING),
    ]
    assert (shown.target, shown.running, shown.state) == (3, 1, ServiceState.PARTLY_RUNNING)
    assert shown.warnings == ("the nodes of these containers do not respond: 2",)


def test_image_name_and_digest_are_split() -> None:
    shown = take_snapshot(view(spec(), task("runs")))
    assert (shown.image_name, shown.image_digest) == ("app:latest", "sha256:" + "1" * 64)
    assert (shown.containers[0].image_name, shown.containers[0].image_digest) == (shown.image_name, shown.image_digest)


def test_the_target_of_a_stopped_service_is_what_it_had() -> None:
    shown = take_snapshot(view(specs.with_replicas(spec(), 0, noted="4")))
    assert (shown.stopped, shown.target, shown.state) == (True, 4, ServiceState.STOPPED)
    assert take_snapshot(view(spec(replicas=0))).target == 0


def test_a_leftover_label_does_not_make_a_service_stopped() -> None:
    left = specs.with_replicas(spec(), 2, noted="4")
    shown = take_snapshot(view(left, task("a"), task("b", slot="2")))
    assert (shown.stopped, shown.target) == (False, 2)


def test_the_target_of_a_global_service_is_its_number_of_slots() -> None:
    everywhere = spec(Mode={"Global": {}})
    shown = take_snapshot(view(everywhere, task("a", slot="n1"), task("b", slot="n2"), task("b2", slot="n2")))
    assert shown.target == 2


def test_ports_and_command_are_shown() -> None:
    made = spec()
    made["TaskTemplate"]["ContainerSpec"] |= {"Command": ["run it"], "Args": ["-v"]}
    looked = view(made, task("a"))
    ports = [{"TargetPort": 80, "PublishedPort": 8080, "Protocol": "tcp"}, {"TargetPort": 53, "Protocol": "udp"}]
    looked = replace(looked, service={**looked.service, "Endpoint": {"Ports": ports}})
    container = take_snapshot(looked).containers[0]
    assert container.run_command == "'run it' -v"
    assert container.ports == (Port(inner=80, outer=8080), Port(inner=53, outer=None, protocol="udp"))


def test_a_stuck_update_is_a_warning() -> None:
    shown = take_snapshot(view(spec(), state="rollback_paused", message="failure of task x"))
    assert shown.warnings == ("the last update of the service ended as rollback paused: failure of task x",)


def test_ignored_services_and_those_of_plugins_are_not_shown() -> None:
    assert is_shown(spec())
    assert not is_shown(spec(Labels={"tutum.ignore": "true"}))
    inner = spec()
    inner["TaskTemplate"]["ContainerSpec"]["Labels"] = {"tutum.ignore": "true"}
    assert not is_shown(inner)
    assert not is_shown({"Name": "plugin", "TaskTemplate": {"PluginSpec": {}, "Runtime": "plugin"}})


def test_labels_name_the_stack_and_the_services_that_come_first() -> None:
    shown = take_snapshot(view(spec(Labels={"tutum.stack": "all", "tutum.after": "db,cache"})))
    assert (shown.part_of, shown.after, shown.warnings) == ("all", ("db", "cache"), ())
