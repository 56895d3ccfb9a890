"""The texts of an object with a pod spec, without those that differ between replicas."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from acr_cleanup.clusters.images.workload_texts import readable
from tests.helpers.cluster_objects import OURS

POD: dict[str, Any] = {
    "metadata": {
        "name": "web-7d4b9-x2x9k",
        "namespace": "shop",
        "uid": "3f1a",
        "labels": {"app": "web"},
        "annotations": {"image": "contoso.azurecr.io/shop/web:1"},
        "ownerReferences": [{"kind": "ReplicaSet", "controller": True}],
    },
    "revision": 7,
    "spec": {
        "nodeName": "aks-1.2.3",
        "hostname": "web",
        "containers": [{"image": "contoso.azurecr.io/shop/web:1", "env": [{"name": "TAG", "value": "2"}]}],
        "affinity": {"matchFields": [{"key": "metadata.name", "values": ["aks-1.2.3"]}]},
    },
    "status": {
        "phase": "Running",
        "conditions": [{"message": "pulled contoso.azurecr.io/shop/web:3", "reason": "1.2.3"}],
        "containerStatuses": [{"image": "contoso.azurecr.io/shop/web:1", "imageID": "contoso.azurecr.io/shop/web@x"}],
        "initContainerStatuses": [{"imageID": "contoso.azurecr.io/shop/init@x"}, "text"],
        "ephemeralContainerStatuses": None,
    },
}
SPEC = {
    "nodeName": None,
    "hostname": None,
    "containers": [{"image": "contoso.azurecr.io/shop/web:1", "env": [{"name": "TAG", "value": "2"}]}],
    "affinity": {"matchFields": None},
}
METADATA = {key: POD["metadata"][key] for key in ("namespace", "labels", "annotations")}
CONDITIONS = [{"message": "pulled contoso.azurecr.io/shop/web:3", "reason": None}]


def test_text_of_a_pod_has_no_values_of_replicas() -> None:
    """The exact reader reads the images of its status."""
    before = copy.deepcopy(POD)
    assert readable(POD, OURS, is_pod=True) == {
        "metadata": METADATA,
        "spec": SPEC,
        "status": {
            "phase": None,
            "conditions": CONDITIONS,
            "containerStatuses": [{}],
            "initContainerStatuses": [{}, None],
            "ephemeralContainerStatuses": None,
        },
    }
    assert before == POD, "the object itself is not changed"


def test_images_in_the_status_of_other_kinds_are_text() -> None:
    status = readable(POD, OURS, is_pod=False)["status"]
    assert status["containerStatuses"] == POD["status"]["containerStatuses"]
    assert status["initContainerStatuses"] == [{"imageID": "contoso.azurecr.io/shop/init@x"}, None]


@pytest.mark.parametrize("owners", [None, "x", [], ["x"], [{"controller": "true"}], [{"controller": False}]])
def test_name_of_an_object_without_controller_is_text(owners: object) -> None:
    metadata = {"name": "web-1.2", "ownerReferences": owners}
    assert readable({"metadata": metadata}, OURS, is_pod=True) == {"metadata": {"name": "web-1.2"}}


@pytest.mark.parametrize("status", [None, {}, "text", ["contoso.azurecr.io/shop/web:1"]])
def test_odd_status_and_metadata_are_read(status: Any) -> None:
    read = readable({"metadata": "1.2", "status": status}, OURS, is_pod=True)
    assert read.pop("status", None) == (status if isinstance(status, list) else None)
    assert read == {"metadata": "1.2"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("claimName", "data-web-0"),
        ("example.com/pod-name", "web-0"),
        ("apps.kubernetes.io/pod-index", "0"),
        ("name", "kube-api-access-x2x9k"),
        ("cni.projectcalico.org/podIP", "10.0.0.7/32"),
    ],
)
def test_value_of_a_replica_is_blanked_behind_its_key_alone(key: str, value: str) -> None:
    spec = {key: value, f"{key}x": f"contoso.azurecr.io/shop/web:{value}"}
    assert readable({"spec": spec}, OURS, is_pod=True)["spec"] == {**spec, key: None}


def test_values_that_an_object_shares_are_copied_once() -> None:
    """Otherwise thirty levels of two equal values are a thousand million."""
    value: Any = {"image": "contoso.azurecr.io/shop/web:1"}
    for _ in range(30):
        value = {"a": value, "b": value}
    read = readable({"spec": value}, OURS, is_pod=True)["spec"]
    for _ in range(30):
        assert read["a"] is read["b"]
        read = read["a"]
    assert read == {"image": "contoso.azurecr.io/shop/web:1"}
