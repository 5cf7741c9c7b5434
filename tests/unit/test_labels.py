"""What labels of services are shown to people."""

from tutumd.engines.labels import found_settings, group_facts


def test_settings_are_the_labels_that_people_set() -> None:
    written = {"tutum.action": "12345678", "tutum.stopped.replicas": "3", "tutum.image.tagged": "app:2"}
    labels = {"tutum.scale.max": "5", "tutum.owner": "ann", "com.example": "x", "tutum.unknown": "x", **written}
    assert found_settings([labels, labels]) == (("tutum.owner", "ann"), ("tutum.scale.max", "5"))


def test_values_that_differ_between_containers_are_all_shown() -> None:
    sets = [{"tutum.redeploy.order": "stop-first"}, {"tutum.redeploy.order": "auto"}, {}]
    assert found_settings(sets) == (("tutum.redeploy.order", "auto, stop-first"),)


def test_a_long_value_is_cut() -> None:
    assert found_settings([{"tutum.owner": "x" * 500}]) == (("tutum.owner", "x" * 200),)


def test_compose_and_labels_say_which_services_come_first() -> None:
    compose = {"com.docker.compose.depends_on": "db:service_healthy:false,cache:service_started:true"}
    assert group_facts(compose) == {"part_of": "", "after": ("db", "cache")}
    assert group_facts(compose | {"tutum.after": " queue, db,queue,, "})["after"] == ("queue", "db")
    assert group_facts(compose | {"tutum.after": ""})["after"] == ()
    assert group_facts({"tutum.stack": " shop ", "tutum.after": ",".join(map(str, range(99)))}) == {
        "part_of": "shop",
        "after": tuple(map(str, range(50))),
    }
    assert group_facts({}) == {"part_of": "", "after": ()}
