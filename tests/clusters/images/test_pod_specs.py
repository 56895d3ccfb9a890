"""One object -> uses: every place an image can stand in, and every odd thing that can stand there instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from acr_cleanup.clusters.images.names import Names
from acr_cleanup.clusters.images.pod_specs import KINDS, Findings, Kind, image_uses, uses_in_document
from acr_cleanup.core.references import RegistryHost
from acr_cleanup.core.workload import Workload
from tests.helpers.cluster_objects import DIGEST, NAMES, OTHER_DIGEST, OURS, kept, kind, mentions_of, pod

WEB = "contoso.azurecr.io/shop/web"
PLANTED = Names.of(OURS, [*NAMES.repositories, "planted/here"])
NOTHING: tuple[dict[str, object], ...] = ({}, {}, {})


def read(obj: Any, of: str = "Pod", registry: RegistryHost = OURS) -> Findings:
    return image_uses(obj, kind(of), "prod", NAMES if registry is OURS else Names.of(registry, NAMES.repositories))


def exact(found: Findings) -> tuple[object, ...]:
    return found.uses, found.blockers, found.notes


def references(found: Findings) -> list[str]:
    return [str(use.reference) for use in found.uses]


def with_status(obj: dict[str, Any], name: str = "c0", **status: Any) -> dict[str, Any]:
    return obj | {"status": {"containerStatuses": [{"name": name, **status}]}}


@pytest.mark.parametrize("name", [each.name for each in KINDS])
def test_the_pod_spec_of_every_kind_is_read_in_all_its_lists(name: str) -> None:
    spec: dict[str, Any] = {
        "containers": [{"name": "a", "image": f"{WEB}:1"}],
        "initContainers": [
            {"name": "b", "image": f"{WEB}:2"},
            {"name": "c", "image": f"{WEB}:3", "restartPolicy": "Always"},
        ],
        "ephemeralContainers": [{"name": "d", "image": f"{WEB}:4"}],
        "volumes": [{"name": "x", "emptyDir": {}}, {"name": "e", "image": {"reference": f"{WEB}:5"}}],
    }
    obj: dict[str, Any] = spec
    for key in reversed(kind(name).pod_spec):
        obj = {key: obj}
    found = read(obj | {"metadata": {"name": "n", "namespace": "shop"}}, name)
    assert references(found) == [f"{WEB}:{tag}" for tag in "12345"]
    assert {use.container: use.reference.tag for use in found.uses} == dict(zip("abcde", "12345", strict=True))
    running = {use.container for use in found.uses if use.running}
    assert running == ({"a", "b", "c"} if name == "Pod" else set())


def test_a_workload_scaled_to_zero_or_suspended_still_uses_its_images() -> None:
    template = {"spec": {"containers": [{"name": "a", "image": f"{WEB}:1"}]}}
    assert references(read({"spec": {"replicas": 0, "template": template}}, "Deployment")) == [f"{WEB}:1"]
    suspended = {"spec": {"suspend": True, "jobTemplate": {"spec": {"template": template}}}}
    assert references(read(suspended, "CronJob")) == [f"{WEB}:1"]


@pytest.mark.parametrize("phase", ["Running", "Pending", "Succeeded", "Failed", "Unknown", None])
def test_a_pod_runs_its_images_in_any_phase(phase: str | None) -> None:
    found = read(pod("web", f"{WEB}:1") | {"status": {"phase": phase}})
    assert [use.running for use in found.uses] == [True]


@pytest.mark.parametrize(
    "image_id",
    [
        f"{WEB}@{DIGEST}",
        f"docker-pullable://{WEB}@{DIGEST}",
        f"containerd://{WEB}@{DIGEST}",
        DIGEST,
        f"docker://{DIGEST}",
    ],
)
def test_the_digest_that_runs_is_used_in_the_containers_own_repository(image_id: str) -> None:
    found = read(with_status(pod("web", f"{WEB}:1"), image=f"{WEB}:1", imageID=image_id))
    assert f"{WEB}@{DIGEST}" in references(found)


def test_a_digest_reported_under_another_repository_is_used_in_both() -> None:
    """containerd names the first repository it knows with this content."""
    found = read(with_status(pod("web", f"{WEB}:1"), imageID=f"contoso.azurecr.io/other@{DIGEST}"))
    assert {f"{WEB}@{DIGEST}", f"contoso.azurecr.io/other@{DIGEST}"} <= set(references(found))
    found = read(with_status(pod("web", f"{WEB}:1"), imageID=f"docker.io/library/nginx@{DIGEST}"))
    assert f"{WEB}@{DIGEST}" in references(found)


def test_a_bare_digest_of_a_container_that_is_not_ours_is_nothing() -> None:
    assert references(read(with_status(pod("web", "nginx:1"), imageID=DIGEST))) == []


def test_a_digest_belongs_to_its_own_container_only() -> None:
    obj = pod("web", f"{WEB}:1", "contoso.azurecr.io/shop/log:1") | {
        "status": {"containerStatuses": [{"name": "c0", "imageID": DIGEST}, {"name": "c1", "imageID": OTHER_DIGEST}]}
    }
    assert {f"{WEB}@{DIGEST}", f"contoso.azurecr.io/shop/log@{OTHER_DIGEST}"} <= set(references(read(obj)))
    assert f"{WEB}@{OTHER_DIGEST}" not in references(read(obj))


@pytest.mark.parametrize("name", ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"])
def test_every_list_of_statuses_is_read(name: str) -> None:
    obj = pod("web", f"{WEB}:1") | {"status": {name: [{"name": "c0", "image": f"{WEB}:old", "imageID": DIGEST}]}}
    assert {f"{WEB}:old", f"{WEB}@{DIGEST}"} <= set(references(read(obj)))


def test_a_tag_and_a_digest_in_one_reference_are_both_kept() -> None:
    (use,) = read(pod("web", f"{WEB}:1@{DIGEST}")).uses
    assert (use.reference.tag, use.reference.digest) == ("1", DIGEST)


@pytest.mark.parametrize(
    "image",
    [
        "CONTOSO.azurecr.io/shop/web:1",
        "contoso.azurecr.io:443/shop/web:1",
        "contoso.westeurope.geo.azurecr.io/shop/web:1",
        " contoso.azurecr.io/shop/web:1\n",
        "mirror.contoso.example/shop/web:1",
    ],
)
def test_every_name_of_the_registry_is_ours(image: str) -> None:
    registry = RegistryHost("contoso.azurecr.io", frozenset({"mirror.contoso.example"}))
    (use,) = read(pod("web", image), registry=registry).uses
    assert (use.reference.repository, use.reference.tag, use.text) == ("shop/web", "1", image)


@pytest.mark.parametrize(
    "image",
    [
        "contoso.azurecr.io.evil.example/shop/web:1",
        "notcontoso.azurecr.io/shop/web:1",
        "contoso.azurecr.us/shop/web:1",
        "evil.example/contoso.azurecr.io/shop/web:1",
        "contoso.azurecr.io:r1",
        "nginx",
    ],
)
def test_what_only_looks_like_ours_is_nothing(image: str) -> None:
    assert exact(read(pod("web", image))) == NOTHING


@pytest.mark.parametrize(
    "image",
    [
        "contoso.azurecr.io/shop/web:",
        "contoso.azurecr.io/shop/web:$(TAG)",
        "contoso.azurecr.io/Shop/Web:1",
        "https://contoso.azurecr.io/shop/web:1",
        "contoso.azurecr.io//shop/web:1",
        "contoso.azurecr.io/shop web:1",
        "contoso.azurecr.io/shop/web@sha256:12",
        "contoso.azurecr.io/shop/web:" + "x" * 300,
        "contoso.azurecr.io/",
        {"repository": "contoso.azurecr.io/shop/web", "tag": "1"},
        ["contoso.azurecr.io/shop/web:1"],
    ],
    ids=str,
)
def test_what_no_one_can_parse_is_a_blocker_if_it_mentions_our_registry(image: Any) -> None:
    found = read(pod("web", image))
    (blocker,) = found.blockers
    assert found.uses == {}
    assert (blocker.where, blocker.call) == ("prod", "reading shop/Pod/web")
    shown = repr(image)[:30] if isinstance(image, str) else f"{type(image).__name__} {image}"
    assert blocker.seen.startswith(f"spec.containers[0].image of `c0` is {shown}")
    assert blocker.seen.endswith(": no image reference, but it names our registry.")
    assert blocker.remedy == (
        "Correct the image there, or delete the object; until then it is unknown which image it needs."
    )
    assert "\n" not in str(blocker)


def test_image_that_is_nested_too_deeply_to_show_is_a_blocker() -> None:
    image: Any = WEB
    for _ in range(5_000):
        image = [image]
    (blocker,) = read(pod("web", image)).blockers
    assert blocker.seen == ("spec.containers[0].image of `c0` is list: no image reference, but it names our registry.")


@pytest.mark.parametrize(
    "image", ["", "  ", None, 5, True, "a b", "https://x", "$(TAG)", {"a": 1}, [], "x" * 5000], ids=repr
)
def test_what_no_one_can_parse_is_nothing_otherwise(image: Any) -> None:
    assert exact(read(pod("web", image))) == NOTHING


@pytest.mark.parametrize("odd", [None, [], {}, "text", 7, [None], [3], ["text"], {"a": {"b": []}}], ids=repr)
@pytest.mark.parametrize(
    "path", ["metadata", "spec", "status", "spec.containers", "spec.volumes", "status.containerStatuses"]
)
def test_no_shape_of_an_object_makes_it_crash(path: str, odd: Any) -> None:
    obj = pod("web", "nginx") | {"status": {}}
    *parents, last = path.split(".")
    place: Any = obj
    for key in parents:
        place = place[key]
    place[last] = odd
    assert read(obj).blockers == {}
    assert read({"spec": {"template": obj}}, "Deployment").blockers == {}


@pytest.mark.parametrize("path", ["spec", "spec.containers", "spec.initContainers", "spec.volumes"])
def test_an_odd_shape_that_mentions_our_registry_is_not_overlooked(path: str) -> None:
    """An unreadable value is protected or a blocker. It is never ignored."""
    for odd in ([f"{WEB}:1 x"], f"{WEB}:1 x", [{"name": "a", "image": [f"{WEB}:1 x"]}]):
        obj = pod("web")
        *parents, last = path.split(".")
        place: Any = obj
        for key in parents:
            place = place[key]
        place[last] = odd
        found = read(obj)
        assert found.blockers or found.uses, odd


def test_blockers_quote_foreign_text_on_one_clean_short_line() -> None:
    (blocker,) = read(pod("web", f"{WEB}:1 \x1b[31m\r\n::error::" + "x" * 4000)).blockers
    assert "\x1b" not in str(blocker)
    assert "\n" not in str(blocker)
    assert len(blocker.seen) < 400


OWNER = [{"kind": "ReplicaSet", "name": "web-5d46955b75", "controller": True}]


@pytest.mark.parametrize(
    ("of", "metadata", "workload"),
    [
        ("Pod", {}, "prod/shop/Pod/web"),
        ("Pod", {"ownerReferences": OWNER, "labels": {"pod-template-hash": "5d46955b75"}}, "prod/shop/Deployment/web"),
        ("Pod", {"ownerReferences": OWNER}, "prod/shop/ReplicaSet/web-5d46955b75"),
        ("Pod", {"ownerReferences": [{**OWNER[0], "controller": False}]}, "prod/shop/Pod/web"),
        ("Pod", {"ownerReferences": None, "labels": None}, "prod/shop/Pod/web"),
        ("Pod", {"ownerReferences": [7, {"controller": True}]}, "prod/shop/Pod/web"),
        (
            "ReplicaSet",
            {"ownerReferences": [{"kind": "Deployment", "name": "web", "controller": True}]},
            "prod/shop/Deployment/web",
        ),
    ],
)
def test_a_use_names_the_top_owner_where_it_is_known(of: str, metadata: dict[str, Any], workload: str) -> None:
    obj = pod("web", f"{WEB}:1", **metadata)
    (use,) = read(obj if of == "Pod" else obj | {"spec": {"template": obj}}, of).uses
    assert str(use.workload) == workload
    assert use.holder == ("" if workload.endswith(f"{of}/web") else f"{of}/web")


CUSTOM = Kind("Thing", "things", "example.com")
ODD = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=3)
KEYS = st.sampled_from(
    ["metadata", "spec", "status", "template", "containers", "name", "image", "env", "value", "args", "data", "volumes", "tag",
     "global", "registry", "binaryData", "annotations", "labels", "ownerReferences", "containerStatuses", "imageID"]
)  # fmt: skip
VALUES = st.recursive(
    ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.integers() | st.none(), inner, max_size=4),
    max_leaves=12,
)


def planted(value: Any, path: list[int], wrap: Callable[[str], Any]) -> Any:
    """The same value, with a reference planted somewhere in it."""
    if path and isinstance(value, dict) and value:
        keys = list(value)
        key = keys[path[0] % len(keys)]
        return {**value, key: planted(value[key], path[1:], wrap)}
    if path and isinstance(value, list) and value:
        index = path[0] % len(value)
        return [*value[:index], planted(value[index], path[1:], wrap), *value[index + 1 :]]
    return wrap("contoso.azurecr.io/planted/here:7")


WRAPS: list[Callable[[str], Any]] = [
    lambda text: text,
    lambda text: [text],
    lambda text: {"image": text},
    lambda text: {text: None},
    lambda text: f"run --image={text},x",
    lambda text: f'{{"image": "{text}"}}',
    lambda text: f"a: {{b: ['{text}']}}\n",
]


@given(
    st.dictionaries(KEYS, VALUES, min_size=1),
    st.lists(st.integers(0, 9), min_size=1, max_size=6),
    st.sampled_from(WRAPS),
    st.sampled_from([CUSTOM, *KINDS]),
)
def test_no_object_makes_it_crash_or_lose_a_reference(
    obj: dict[Any, Any], path: list[int], wrap: Callable[[str], Any], of: Kind
) -> None:
    """It is used or mentioned, or where a pod spec belongs, a blocker."""
    image_uses(obj, of, "prod", PLANTED)
    whole = planted(obj, path, wrap)
    # An owner says nothing about images.
    assume("planted" not in str((whole.get("metadata") or {}) if isinstance(whole.get("metadata"), dict) else ""))
    found = image_uses(whole, of, "prod", PLANTED)
    assert kept(found, "planted/here", "7") == {"7"} or found.blockers


def test_object_that_contains_itself_is_read_once() -> None:
    loop: dict[str, Any] = {"image": f"{WEB}:1"}
    loop["again"] = [loop]
    assert kept(image_uses({"spec": loop}, CUSTOM, "prod", PLANTED), "shop/web", "1") == {"1"}


@pytest.mark.extended
def test_depth_is_no_limit() -> None:
    obj: dict[str, Any] = {"image": f"{WEB}:1"}
    for _ in range(50_000):
        obj = {"a": obj}
    (mention,) = mentions_of(image_uses(obj, CUSTOM, "prod", PLANTED), "shop/web", "1").by_tag["1"]
    assert len(mention.field) < 500
    assert len(read(pod("web", obj)).blockers) == 1  # type: ignore[arg-type]


def test_a_container_under_many_names_is_read_once() -> None:
    shared: Any = [f"{WEB}:1"]
    for _ in range(60):
        shared = [shared, shared]
    workload = Workload("prod", "shop", "Thing", "x")
    assert kept(uses_in_document(shared, workload, "spec", NAMES), "shop/web", "1") == {"1"}


def test_an_unreadable_image_is_a_blocker_and_the_rest_is_read() -> None:
    obj = pod("web", f"{WEB}:")
    obj["spec"]["containers"][0]["args"] = [f"{WEB}:2"]
    found = read(obj)
    assert kept(found, "shop/web", "2", "3") == {"2"}
    assert len(found.blockers) == 1


def test_fields_of_a_document_begin_with_its_field() -> None:
    workload = Workload("prod", "shop", "Release", "web")
    found = uses_in_document(f"containers:\n- name: c\n  image: {WEB}:1\n", workload, "manifest", NAMES)
    (mention,) = mentions_of(found, "shop/web", "1").by_tag["1"]
    assert (mention.workload, mention.field) == (workload, "manifest")
    found = uses_in_document({"image": {"repository": WEB, "tag": "1"}}, workload, "config", NAMES)
    (mention,) = mentions_of(found, "shop/web", "1").by_tag["1"]
    assert mention.field == "config.image.repository"
    assert exact(uses_in_document(None, workload, "config", NAMES)) == NOTHING


def test_containers_of_a_custom_resource_are_uses() -> None:
    spec = {"template": {"spec": {"containers": [{"name": "c", "image": f"{WEB}:1"}]}}}
    found = image_uses({"spec": spec}, CUSTOM, "prod", NAMES)
    assert [(use.field, str(use.reference), use.running) for use in found.uses] == [
        ("spec.template.spec.containers[0].image", f"{WEB}:1", False)
    ]


@pytest.mark.parametrize("data", ["%%%", "", None, 7, "H4sIAAAA", "AAAA", "é"])
def test_binary_data_that_is_no_text_is_nothing(data: Any) -> None:
    kind_of_map = Kind("ConfigMap", "configmaps", "")
    assert exact(image_uses({"binaryData": {"a": data}}, kind_of_map, "prod", PLANTED)) == NOTHING
