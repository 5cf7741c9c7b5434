"""What labels of services are shown to people."""

from tutumd.engines.labels import found_settings


def test_settings_are_the_labels_that_people_set() -> None:
    written = {"tutum.action": "12345678", "tutum.stopped.replicas": "3", "tutum.image.tagged": "app:2"}
    labels = {"tutum.scale.max": "5", "tutum.owner": "ann", "com.example": "x", "tutum.unknown": "x", **written}
    assert found_settings([labels, labels]) == (("tutum.owner", "ann"), ("tutum.scale.max", "5"))


def test_values_that_differ_between_containers_are_all_shown() -> None:
    sets = [{"tutum.redeploy.order": "stop-first"}, {"tutum.redeploy.order": "auto"}, {}]
    assert found_settings(sets) == (("tutum.redeploy.order", "auto, stop-first"),)


def test_a_long_value_is_cut() -> None:
    assert found_settings([{"tutum.owner": "x" * 500}]) == (("tutum.owner", "x" * 200),)
