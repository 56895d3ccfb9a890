"""The kinds of objects in which images are named outside pod specs: each keeps its tag, and no other."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.clusters.images.test_mentions import read
from tests.helpers.cluster_objects import kept
from tests.helpers.mention_builders import X, b64, chart_archive, config_map, deployment, env, obj
from tests.helpers.mention_worlds import MentionWorld

D = "sha256:" + "7" * 64
Rows = list[tuple[str, Any, Mapping[str, str]]]
"""Title, objects, and by repository: the kept tags, a bar, and the deleted tags."""


def world(title: str, objects: Any, tags: Mapping[str, str]) -> MentionWorld:
    of = {repository: [part.split() for part in text.split("|")] for repository, text in tags.items()}
    return MentionWorld(
        title,
        objects if isinstance(objects, list) else [objects],
        {repository: [*stay, *go] for repository, (stay, go) in of.items()},
        {repository: stay for repository, (stay, _) in of.items()},
    )


def lines(*texts: str) -> dict[str, Any]:
    return config_map(data="\n".join(texts) + "\n")


def job(image: str = "busybox:1", **container: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "main", "image": image, **container}], "restartPolicy": "Never"}
    return obj("Job", {"spec": {"template": {"spec": spec}}}, api="batch/v1")


def cr(kind: str, api: str, **spec: Any) -> dict[str, Any]:
    return obj(kind, {"spec": spec}, api=api)


CHARTS: Rows = [
    ("Helm values, tag before repository", lines("controller:", "  image:", "    tag: lts", f"    registry: {X}", "    repository: ingress/controller", "    pullPolicy: IfNotPresent"), {"ingress/controller": "lts | edge 1.9.4"}),
    ("Helm values, two charts, each its tag", lines("web:", "  image:", f"    repository: {X}/shop/web", "    tag: blue", "api:", "  image:", f"    repository: {X}/shop/api", "    tag: green"), {"shop/web": "blue | green old", "shop/api": "green | blue old"}),
    ("Helm values, global registry", lines("global:", f"  imageRegistry: {X}", "redis:", "  image:", "    repository: bitnami/redis", "    tag: 7.2.4-debian-12-r9"), {"bitnami/redis": "7.2.4-debian-12-r9 | 7.2.3-debian-12-r1"}),
    ("HelmRelease values", cr("HelmRelease", "helm.toolkit.fluxcd.io/v2", chart={"spec": {"chart": "podinfo", "version": "6.5.0"}}, values={"image": {"repository": f"{X}/shop/podinfo", "tag": "nightly"}}), {"shop/podinfo": "nightly | weekly 6.4.0"}),
    ("HelmRelease values, image as one mapping of parts", cr("HelmRelease", "helm.toolkit.fluxcd.io/v2", values={"image": {"registry": X, "name": "shop/podinfo", "version": "rolling"}}), {"shop/podinfo": "rolling | weekly"}),
    ("Argo parameters of Helm", cr("Application", "argoproj.io/v1alpha1", source={"repoURL": "https://git.example/app", "helm": {"parameters": [{"name": "image.repository", "value": f"{X}/shop/web"}, {"name": "replicas", "value": "3"}, {"name": "image.tag", "value": "staging"}]}}), {"shop/web": "staging | production 3"}),
    ("Argo values in a text", cr("Application", "argoproj.io/v1alpha1", source={"helm": {"values": f"image:\n  repository: {X}/shop/web\n  tag: staging\n"}}), {"shop/web": "staging | production"}),
    ("Argo valuesObject", cr("Application", "argoproj.io/v1alpha1", source={"helm": {"valuesObject": {"web": {"image": "shop/web", "imageTag": "staging"}}}}), {"shop/web": "staging | production"}),
    ("Argo kustomize images", cr("Application", "argoproj.io/v1alpha1", source={"kustomize": {"images": [f"web={X}/shop/web:staging", f"{X}/shop/api:canary"]}}), {"shop/web": "staging | canary", "shop/api": "canary | staging"}),
    ("Argo image updater annotation", obj("Application", {"spec": {}}, api="argoproj.io/v1alpha1", annotations={"argocd-image-updater.argoproj.io/image-list": f"web={X}/shop/web:staging"}), {"shop/web": "staging | production"}),
    ("ApplicationSet list generator", cr("ApplicationSet", "argoproj.io/v1alpha1", generators=[{"list": {"elements": [{"cluster": "a", "image": "shop/web", "tag": "staging"}, {"cluster": "b", "image": "shop/api", "tag": "canary"}]}}]), {"shop/web": "staging | canary", "shop/api": "canary | staging"}),
    ("Flux Kustomization images", cr("Kustomization", "kustomize.toolkit.fluxcd.io/v1", images=[{"name": "web", "newName": f"{X}/shop/web", "newTag": "staging"}, {"name": "api", "newName": f"{X}/shop/api", "newTag": "canary"}]), {"shop/web": "staging | canary", "shop/api": "canary | staging"}),
    ("Flux Kustomization images, only a new tag", cr("Kustomization", "kustomize.toolkit.fluxcd.io/v1", images=[{"name": f"{X}/shop/web", "newTag": "staging"}]), {"shop/web": "staging | canary"}),
    ("Flux postBuild substitution", cr("Kustomization", "kustomize.toolkit.fluxcd.io/v1", postBuild={"substitute": {"web_image": f"{X}/shop/web", "web_tag": "staging", "zone": "canary-zone"}}), {"shop/web": "staging | canary"}),
    ("kustomization in a text", lines("images:", "- name: web", f"  newName: {X}/shop/web", "  newTag: staging", "- name: api", f"  newName: {X}/shop/api", "  newTag: canary"), {"shop/web": "staging | canary", "shop/api": "canary | staging"}),
    ("kustomization in a text, tag first", lines("images:", "  - newTag: staging", f"    newName: {X}/shop/web", "    name: web", "  - newTag: canary", f"    newName: {X}/shop/api", "    name: api"), {"shop/web": "staging | canary", "shop/api": "canary | staging"}),
    ("kustomization with a digest", lines("images:", f"- digest: {D}", f"  name: {X}/shop/web", "  newTag: staging"), {"shop/web": "staging | canary"}),
    ("Flux OCIRepository tag", cr("OCIRepository", "source.toolkit.fluxcd.io/v1", url=f"oci://{X}/manifests/shop", ref={"tag": "staging"}), {"manifests/shop": "staging | canary"}),
    ("Flux OCIRepository range", cr("OCIRepository", "source.toolkit.fluxcd.io/v1", url=f"oci://{X}/manifests/shop", ref={"semver": "~1.2"}), {"manifests/shop": "1.2.0 1.2.9 staging |"}),
    ("Flux OCIRepository semver x", cr("OCIRepository", "source.toolkit.fluxcd.io/v1", url=f"oci://{X}/manifests/shop", ref={"semver": "1.2.x"}), {"manifests/shop": "1.2.0 1.2.9 |"}),
    ("Flux ImagePolicy's last image", obj("ImagePolicy", {"spec": {"imageRepositoryRef": {"name": "web"}}, "status": {"latestRef": {"name": f"{X}/shop/web", "tag": "staging"}}}, api="image.toolkit.fluxcd.io/v1"), {"shop/web": "staging | canary"}),
    ("Flux marker in a text", lines("spec:", "  values:", "    image:", f"      repository: {X}/shop/web", '      tag: staging # {"$imagepolicy": "flux-system:web:tag"}'), {"shop/web": "staging | canary"}),
    ("Fleet bundle", cr("Bundle", "fleet.cattle.io/v1alpha1", helm={"chart": f"oci://{X}/charts/shop", "version": "0.4.1"}), {"charts/shop": "0.4.1 | 0.4.0"}),
    ("Fleet resource packed", cr("Bundle", "fleet.cattle.io/v1alpha1", resources=[{"name": "d.yaml", "content": b64(gzip.compress(f"image: {X}/shop/web:staging\n".encode())), "encoding": "base64+gz"}]), {"shop/web": "staging | canary"}),
    ("RKE2 HelmChart", cr("HelmChart", "helm.cattle.io/v1", chart=f"oci://{X}/charts/shop", version="0.4.1", set={"image.repository": f"{X}/shop/web", "image.tag": "staging"}), {"charts/shop": "0.4.1 | 0.4.0", "shop/web": "staging | canary"}),
    ("chart version with plus", cr("HelmRelease", "helm.toolkit.fluxcd.io/v2", chart={"spec": {"chart": "shop", "version": "1.0.0+build.5"}}), {"charts/shop": "1.0.0_build.5 | 1.0.0_build.4"}),
    ("chart dependency in Chart.yaml", lines("apiVersion: v2", "name: umbrella", "version: 9.9.9", "dependencies:", "- name: shop", f'  repository: "oci://{X}/charts"', "  version: 0.4.1"), {"charts/shop": "0.4.1 | 0.4.0"}),
    ("chart archive in binaryData", obj("ConfigMap", {"binaryData": {"shop.tgz": chart_archive(f"image:\n  repository: {X}/shop/web\n  tag: staging\n")}}, api="v1"), {"shop/web": "staging | canary"}),
    ("helmfile", lines("releases:", "- name: shop", f"  chart: oci://{X}/charts/shop", "  version: 0.4.1", "  set:", "  - name: image.tag", "    value: staging"), {"charts/shop": "0.4.1 staging | 0.4.0"}),
    ("Carvel Package", cr("App", "kappctrl.k14s.io/v1alpha1", fetch=[{"imgpkgBundle": {"image": f"{X}/bundles/shop:staging"}}]), {"bundles/shop": "staging | canary"}),
    ("Carvel ImagesLock", lines("kind: ImagesLock", "images:", f"- image: {X}/shop/web@{D}", "  annotations:", f"    kbld.carvel.dev/id: {X}/shop/web:staging"), {"shop/web": "staging | canary"}),
    ("Crossplane package", cr("Provider", "pkg.crossplane.io/v1", package=f"{X}/crossplane/provider-azure:staging"), {"crossplane/provider-azure": "staging | canary"}),
    ("Crossplane lock", obj("Lock", {"packages": [{"name": "p", "source": f"{X}/crossplane/provider-azure", "type": "Provider", "version": "staging"}]}, api="pkg.crossplane.io/v1beta1"), {"crossplane/provider-azure": "staging | canary"}),
    ("Crossplane dependency range", cr("Configuration", "meta.pkg.crossplane.io/v1", dependsOn=[{"provider": f"{X}/crossplane/provider-azure", "version": ">=v0.3.0"}]), {"crossplane/provider-azure": "v0.3.0 v0.4.0 |"}),
]  # fmt: skip
WORKFLOWS: Rows = [
    ("Tekton pipeline parameters", cr("PipelineRun", "tekton.dev/v1", params=[{"name": "builder-image", "value": f"{X}/ci/builder"}, {"name": "builder-tag", "value": "stable"}]), {"ci/builder": "stable | edge"}),
    ("Tekton bundle resolver", cr("PipelineRun", "tekton.dev/v1", pipelineRef={"resolver": "bundles", "params": [{"name": "bundle", "value": f"{X}/tekton/catalog:stable"}, {"name": "name", "value": "build"}]}), {"tekton/catalog": "stable | edge"}),
    ("Tekton step with a parameter's default", cr("Task", "tekton.dev/v1", params=[{"name": "tag", "default": "stable"}], steps=[{"name": "s", "image": f"{X}/ci/builder:$(params.tag)"}]), {"ci/builder": "stable edge |"}),
    ("Tekton step template", cr("Task", "tekton.dev/v1", stepTemplate={"image": f"{X}/ci/builder:stable"}, steps=[{"name": "s"}]), {"ci/builder": "stable | edge"}),
    ("Tekton array parameter", cr("PipelineRun", "tekton.dev/v1", params=[{"name": "args", "value": ["--image", f"{X}/ci/builder", "--tag", "stable"]}]), {"ci/builder": "stable | edge"}),
    ("Argo Workflow template", cr("WorkflowTemplate", "argoproj.io/v1alpha1", templates=[{"name": "a", "container": {"image": f"{X}/ci/runner:stable"}}, {"name": "b", "script": {"image": f"{X}/ci/script:night", "source": "x"}}]), {"ci/runner": "stable | night", "ci/script": "night | stable"}),
    ("Argo Workflow arguments", cr("CronWorkflow", "argoproj.io/v1alpha1", workflowSpec={"arguments": {"parameters": [{"name": "image", "value": f"{X}/ci/runner"}, {"name": "tag", "value": "stable"}]}}), {"ci/runner": "stable | edge"}),
    ("Argo Workflow inline default", cr("Workflow", "argoproj.io/v1alpha1", arguments={"parameters": [{"name": "version", "default": "1.8.3"}]}, templates=[{"name": "a", "container": {"image": f"{X}/ci/runner:{{{{workflow.parameters.version}}}}"}}]), {"ci/runner": "1.8.3 1.8.2 |"}),
    ("Argo Events sensor's trigger", cr("Sensor", "argoproj.io/v1alpha1", triggers=[{"template": {"k8s": {"source": {"resource": {"kind": "Job", "spec": {"template": {"spec": {"containers": [{"image": f"{X}/ci/runner:stable"}]}}}}}}}}]), {"ci/runner": "stable | edge"}),
    ("KEDA ScaledJob", cr("ScaledJob", "keda.sh/v1alpha1", jobTargetRef={"template": {"spec": {"containers": [{"name": "w", "image": f"{X}/shop/worker:stable"}]}}}), {"shop/worker": "stable | edge"}),
    ("Knative service", cr("Service", "serving.knative.dev/v1", template={"spec": {"containers": [{"image": f"{X}/shop/web:stable"}]}}), {"shop/web": "stable | edge"}),
    ("Knative queue proxy", config_map("config-deployment", **{"queue-sidecar-image": f"{X}/knative/queue:stable"}), {"knative/queue": "stable | edge"}),
    ("Spark operator", cr("SparkApplication", "sparkoperator.k8s.io/v1beta2", image=f"{X}/data/spark:stable", sparkVersion="3.5.0"), {"data/spark": "stable | 3.4.0"}),
    ("Spark configuration", lines(f"spark.kubernetes.container.image={X}/data/spark:stable", "spark.kubernetes.driver.pod.name=x"), {"data/spark": "stable | edge"}),
    ("spark-submit", job(args=["spark-submit", "--conf", f"spark.kubernetes.container.image={X}/data/spark:stable"]), {"data/spark": "stable | edge"}),
    ("Strimzi images of versions", deployment(env=env(STRIMZI_KAFKA_IMAGES=f"3.5.0={X}/strimzi/kafka:0.38.0-kafka-3.5.0\n3.6.0={X}/strimzi/kafka:0.38.0-kafka-3.6.0\n")), {"strimzi/kafka": "0.38.0-kafka-3.5.0 0.38.0-kafka-3.6.0 | 0.37.0-kafka-3.5.0"}),
    ("Strimzi map with plain tags", deployment(env=env(STRIMZI_KAFKA_IMAGES=f"3.5.0={X}/strimzi/kafka:older\n3.6.0={X}/strimzi/kafka:newer")), {"strimzi/kafka": "older newer | oldest"}),
    ("Related images", deployment(env=env(RELATED_IMAGE_PROXY=f"{X}/operators/proxy@{D}", RELATED_IMAGE_AGENT=f"{X}/operators/agent:stable")), {"operators/agent": "stable | edge", "operators/proxy": "| edge"}),
    ("default images of an operator", deployment(env=env(DEFAULT_AGENT_IMAGE=f"{X}/operators/agent", DEFAULT_AGENT_VERSION="stable")), {"operators/agent": "stable | edge"}),
    ("ClusterServiceVersion", cr("ClusterServiceVersion", "operators.coreos.com/v1alpha1", relatedImages=[{"name": "agent", "image": f"{X}/operators/agent:stable"}]), {"operators/agent": "stable | edge"}),
    ("CatalogSource", cr("CatalogSource", "operators.coreos.com/v1alpha1", sourceType="grpc", image=f"{X}/operators/catalog:stable"), {"operators/catalog": "stable | edge"}),
    ("Subscription's config", cr("Subscription", "operators.coreos.com/v1alpha1", config={"env": env(AGENT_IMAGE=f"{X}/operators/agent:stable")}), {"operators/agent": "stable | edge"}),
    ("cert-manager solver", deployment(args=["--v=2", f"--acme-http01-solver-image={X}/jetstack/acmesolver:stable"]), {"jetstack/acmesolver": "stable | edge"}),
    ("Istio mesh settings", config_map("istio-sidecar-injector", values=json.dumps({"global": {"hub": f"{X}/istio", "tag": "1.20.1-distroless", "proxy": {"image": "proxyv2"}}})), {"istio/proxyv2": "1.20.1-distroless | 1.19.0-distroless", "istio/pilot": "1.20.1-distroless | 1.19.0-distroless"}),
    ("Istio settings with a plain tag", config_map("istio-sidecar-injector", values=json.dumps({"global": {"hub": f"{X}/istio", "tag": "stable", "proxy": {"image": "proxyv2"}}})), {"istio/proxyv2": "stable | edge"}),
    ("Istio annotation", deployment(meta={"annotations": {"sidecar.istio.io/proxyImage": f"{X}/istio/proxyv2:stable"}}), {"istio/proxyv2": "stable | edge"}),
    ("IstioOperator", cr("IstioOperator", "install.istio.io/v1alpha1", hub=f"{X}/istio", tag="1.20.1"), {"istio/pilot": "1.20.1 | 1.19.0"}),
    ("Linkerd annotations", deployment(meta={"annotations": {"config.linkerd.io/proxy-image": f"{X}/linkerd/proxy", "config.linkerd.io/proxy-version": "edge-24"}}), {"linkerd/proxy": "edge-24 | stable-2.13"}),
    ("Linkerd values", lines("proxy:", "  image:", f"    name: {X}/linkerd/proxy", "    pullPolicy: IfNotPresent", "    version: stable"), {"linkerd/proxy": "stable | edge"}),
    ("Dapr annotation", deployment(meta={"annotations": {"dapr.io/sidecar-image": f"{X}/dapr/daprd:stable"}}), {"dapr/daprd": "stable | edge"}),
    ("Vault annotation", deployment(meta={"annotations": {"vault.hashicorp.com/agent-image": f"{X}/vault/agent:stable"}}), {"vault/agent": "stable | edge"}),
    ("OpenTelemetry instrumentation", cr("Instrumentation", "opentelemetry.io/v1alpha1", java={"image": f"{X}/otel/java:stable"}, python={"image": f"{X}/otel/python:night"}), {"otel/java": "stable | night", "otel/python": "night | stable"}),
    ("Velero plugin", deployment(args=["server", f"--plugins={X}/velero/plugin-azure:stable"]), {"velero/plugin-azure": "stable | edge"}),
    ("Velero plugin in an install script", lines("velero install \\", f"  --image {X}/velero/server \\", f"  --plugins {X}/velero/plugin-azure:stable,{X}/velero/plugin-csi:night \\", "  --use-node-agent"), {"velero/plugin-azure": "stable | night", "velero/plugin-csi": "night | stable"}),
    ("Longhorn setting", obj("Setting", {"value": f"{X}/longhorn/manager:stable"}, api="longhorn.io/v1beta2"), {"longhorn/manager": "stable | edge"}),
    ("Prometheus by parts", cr("Prometheus", "monitoring.coreos.com/v1", baseImage=f"{X}/prom/prometheus", tag="stable", version="v2.48.0"), {"prom/prometheus": "stable v2.48.0 | v2.47.0 edge"}),
    ("Prometheus reloader argument", deployment(args=[f"--prometheus-config-reloader={X}/prom/reloader:stable"]), {"prom/reloader": "stable | edge"}),
    ("CloudNativePG catalog", cr("ImageCatalog", "postgresql.cnpg.io/v1", images=[{"major": 15, "image": f"{X}/db/postgres:15-stable"}, {"major": 16, "image": f"{X}/db/postgres:16-stable"}]), {"db/postgres": "15-stable 16-stable | 14-stable"}),
    ("Elasticsearch", cr("Elasticsearch", "elasticsearch.k8s.elastic.co/v1", version="8.11.1", image=f"{X}/elastic/elasticsearch"), {"elastic/elasticsearch": "8.11.1 | 8.10.0"}),
    ("Rook", cr("CephCluster", "ceph.rook.io/v1", cephVersion={"image": f"{X}/ceph/ceph:reef"}), {"ceph/ceph": "reef | quincy"}),
    ("Rook operator's ConfigMap", config_map("rook", ROOK_CSI_CEPH_IMAGE=f"{X}/ceph/csi:reef"), {"ceph/csi": "reef | quincy"}),
    ("Kyverno mutation", cr("ClusterPolicy", "kyverno.io/v1", rules=[{"mutate": {"patchStrategicMerge": {"spec": {"initContainers": [{"name": "wait", "image": f"{X}/tools/wait:stable"}]}}}}]), {"tools/wait": "stable | edge"}),
    ("Gatekeeper assign", cr("Assign", "mutations.gatekeeper.sh/v1", parameters={"assign": {"value": f"{X}/tools/wait:stable"}}), {"tools/wait": "stable | edge"}),
    ("machine learning service", cr("InferenceService", "serving.kserve.io/v1beta1", predictor={"model": {"storageUri": f"oci://{X}/models/churn:stable"}}), {"models/churn": "stable | edge"}),
    ("KServe runtime of a ConfigMap", config_map("inferenceservice-config", storageInitializer=json.dumps({"image": f"{X}/kserve/storage:stable", "memoryRequest": "100Mi"}), agent=json.dumps({"image": f"{X}/kserve/agent:night"})), {"kserve/storage": "stable | night", "kserve/agent": "night | stable"}),
    ("Kubeflow pipeline in a text", lines("deploymentSpec:", "  executors:", "    exec-train:", "      container:", f"        image: {X}/ml/train:stable"), {"ml/train": "stable | edge"}),
    ("Ray cluster", cr("RayCluster", "ray.io/v1", headGroupSpec={"template": {"spec": {"containers": [{"name": "h", "image": f"{X}/ml/ray:stable"}]}}}), {"ml/ray": "stable | edge"}),
    ("Ray runtime environment", job(env=env(RAY_RUNTIME_ENV=json.dumps({"container": {"image": f"{X}/ml/ray:stable"}}))), {"ml/ray": "stable | edge"}),
    ("Cluster API machine image", cr("KubeadmConfig", "bootstrap.cluster.x-k8s.io/v1beta1", clusterConfiguration={"imageRepository": f"{X}/k8s", "etcd": {"local": {"imageTag": "3.5.9-0"}}}), {"k8s/etcd": "3.5.9-0 | 3.5.8-0"}),
    ("CRD default by parts", obj("CustomResourceDefinition", {"spec": {"versions": [{"schema": {"openAPIV3Schema": {"properties": {"image": {"properties": {"repository": {"default": f"{X}/operators/agent"}, "tag": {"default": "stable"}}}}}}}]}}, api="apiextensions.k8s.io/v1"), {"operators/agent": "stable | edge"}),
    ("StorageClass parameters by parts", obj("StorageClass", {"parameters": {"image": f"{X}/csi/mount", "imageTag": "stable"}}, api="storage.k8s.io/v1"), {"csi/mount": "stable | edge"}),
    ("PersistentVolume attributes", obj("PersistentVolume", {"spec": {"csi": {"driver": "image.csi", "volumeHandle": "vol1", "volumeAttributes": {"image": f"{X}/models/churn", "tag": "stable"}}}}, api="v1"), {"models/churn": "stable | edge"}),
    ("CSI volume of a pod", deployment(volumeMounts=[], meta={"annotations": {"csi/volumeHandle": f"{X}/models/churn:stable"}}), {"models/churn": "stable | edge"}),
]  # fmt: skip
WORLDS = [world(*row) for row in (*CHARTS, *WORKFLOWS)]


@pytest.mark.parametrize("case", WORLDS, ids=lambda case: case.title)
def test_object_of_this_kind_keeps_its_tag(case: MentionWorld) -> None:
    found = read(case)
    assert {repository: kept(found, repository, *tags) for repository, tags in case.tags.items()} == {
        repository: case.must_stay(repository) for repository in case.tags
    }
