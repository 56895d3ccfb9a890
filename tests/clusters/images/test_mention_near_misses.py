"""Objects that hold the name of a repository, or one of its tags, and do not name the image: nothing is kept."""

from __future__ import annotations

import json

import pytest

from tests.clusters.images.test_mention_kinds import Rows, cr, lines, world
from tests.clusters.images.test_mentions import read
from tests.helpers.cluster_objects import kept
from tests.helpers.mention_builders import X, b64, config_map, custom, deployment, env, obj
from tests.helpers.mention_worlds import MentionWorld

T = {"shop/web": "| 1.4.2 v1 canary stable 80 3 latest production"}
A = {"shop/api": "| 1.4.1 canary"}


def template(*containers: dict[str, object], labels: dict[str, str] | None = None, **spec: object) -> dict[str, object]:
    inner = {"metadata": {"labels": labels or {}}, "spec": {"containers": list(containers), **spec}}
    return obj("Deployment", {"spec": {"replicas": 3, "template": inner}}, api="apps/v1")


NAMES_ALONE: Rows = [
    (title, value, T)
    for title, value in {
        "a Service": obj("Service", {"spec": {"selector": {"app": "web"}, "ports": [{"name": "web", "port": 80, "targetPort": 80}]}}, api="v1"),
        "an Ingress": obj("Ingress", {"spec": {"rules": [{"host": "web.example", "http": {"paths": [{"path": "/web", "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}}]}}, api="networking.k8s.io/v1"),
        "an autoscaler": obj("HorizontalPodAutoscaler", {"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}, "minReplicas": 3, "maxReplicas": 80}}, api="autoscaling/v2"),
        "a disruption budget": obj("PodDisruptionBudget", {"spec": {"minAvailable": 3, "selector": {"matchLabels": {"app": "web", "track": "canary"}}}}, api="policy/v1"),
        "a network policy": obj("NetworkPolicy", {"spec": {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"ports": [{"port": 80}]}]}}, api="networking.k8s.io/v1"),
        "a service account": obj("ServiceAccount", {"imagePullSecrets": [{"name": "web"}]}, api="v1", name="web", namespace="production"),
        "a namespace": obj("Namespace", {}, api="v1", name="production", labels={"team": "web", "stage": "canary"}),
        "a role binding": obj("RoleBinding", {"subjects": [{"kind": "ServiceAccount", "name": "web", "namespace": "production"}]}, api="rbac.authorization.k8s.io/v1"),
        "an own object of the name": deployment(meta={"name": "web", "namespace": "production", "labels": {"app": "web", "track": "stable", "version": "v1"}}),
        "the name of a container": template({"name": "web", "image": "busybox:1", "ports": [{"containerPort": 80}]}),
        "a volume of the name": template({"name": "c", "image": "busybox:1", "volumeMounts": [{"name": "web", "mountPath": "/canary"}]}, volumes=[{"name": "web", "configMap": {"name": "canary"}}]),
        "a port's name": template({"name": "c", "image": "busybox:1", "ports": [{"name": "web", "containerPort": 80}]}),
        "a selector expression": obj("Thing", {"spec": {"selector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}, {"key": "track", "operator": "In", "values": ["canary"]}]}}}),
        "an address": deployment(env=env(WEB_URL="http://web:80/", MODE="x")),
        "an address with a path": deployment(env=env(UPSTREAM="http://web.production.svc:80/web")),
        "an address without a scheme": config_map(upstream="web.shop:80"),
        "a variable port": deployment(env=env(URL="http://web:$(WEB_PORT)/")),
        "nginx": lines("upstream web {", "  server web.production.svc:80;", "}", "location /web { proxy_pass http://web; }"),
        "CoreDNS": lines("rewrite name web.example web.production.svc.cluster.local", "cache 3"),
        "Prometheus job": lines("- job_name: web", "  scrape_interval: 15s", "  metrics_path: /metrics"),
        "an alert": cr("PrometheusRule", "monitoring.coreos.com/v1", groups=[{"rules": [{"alert": "WebDown", "expr": 'up{job="web"} == 0', "for": "3m", "labels": {"severity": "critical"}}]}]),
        "a Grafana panel": config_map(d=json.dumps({"panels": [{"title": "web", "targets": [{"expr": 'rate(http{service="web"}[5m])'}], "gridPos": {"h": 8, "w": 12}}]})),
        "certificate": cr("Certificate", "cert-manager.io/v1", secretName="web", dnsNames=["web.example"], duration="2160h"),
        "a route of a mesh": cr("DestinationRule", "networking.istio.io/v1", host="web.production.svc.cluster.local", trafficPolicy={"connectionPool": {"tcp": {"maxConnections": 3}}}),
        "prose without a tag": config_map(note="The web server serves the site. See the latest notes."),
        "latest in prose": config_map(note="web is a service. Always deploy the latest release of everything."),
        "latest in a list of words": config_map(note="web, api and others; use the latest one"),
        "a branch of git": cr("GitRepository", "source.toolkit.fluxcd.io/v1", url="https://git.example/shop/web", interval="1m"),
        "a path of files": config_map(p="root /usr/share/nginx/web;\nalias /var/www/web/;\n"),
        "a link to documentation": config_map(d="See https://docs.example/shop/web for details."),
        "a link with a version of something else": config_map(d="See https://kubernetes.io/docs/v1.28/web for details."),
        "HTML": config_map(d='<a href="/web">web</a><script src="/web/app.js"></script>'),
        "one-letter words": custom(a="w", b="e", c="b", web=True),
        "a date": config_map(web="2024-01-01"),
        "a duration": custom(web={"timeout": "30s", "interval": "5m"}),
        "resources": custom(web={"resources": {"limits": {"cpu": 3, "memory": "512Mi"}, "requests": {"cpu": "100m"}}}),
        "replicas": custom(web={"replicas": 3}),
        "replicas in a text": lines("web:", "  replicas: 3", "  port: 80"),
        "a port in a text": lines("name: web", "port: 80"),
        "a port in properties": lines("web.port=80", "web.replicas=3"),
        "probe": custom(web={"livenessProbe": {"httpGet": {"port": 80, "path": "/"}, "periodSeconds": 3}}),
        "a priority": custom(components=[{"name": "web", "weight": 3, "priority": 80}]),
        "a namespace beside it": custom(targets=[{"name": "web", "namespace": "production"}]),
        "a neighbouring namespace in a text": lines("- name: web", "  namespace: production"),
        "a kind beside it": custom(ref={"kind": "canary", "name": "web", "apiVersion": "v1"}),
        "an API version in a text": lines("apiVersion: v1", "kind: Service", "metadata:", "  name: web"),
        "objects in a text": lines("apiVersion: v1", "kind: Service", "metadata:", "  name: web", "  namespace: production", "spec:", "  ports:", "  - port: 80"),
        "a pull policy": lines("web:", "  pullPolicy: Always"),
        "types of a schema": obj("CustomResourceDefinition", {"spec": {"names": {"kind": "Web", "plural": "webs"}, "versions": [{"name": "v1", "served": True}]}}, api="apiextensions.k8s.io/v1", name="web"),
        "a stored version": obj("CustomResourceDefinition", {"spec": {"group": "web"}, "status": {"storedVersions": ["v1"]}}, api="apiextensions.k8s.io/v1"),
    }.items()
]  # fmt: skip
TAGS_ELSEWHERE: Rows = [
    (title, value, T)
    for title, value in {
        "a foreign image in a container": template({"name": "web", "image": "docker.io/library/web:1.4.2"}),
        "a foreign image with the same path": template({"name": "c", "image": "quay.io/shop/web:1.4.2"}),
        "a foreign image next to the name": template({"name": "web", "image": "quay.io/other/server:1.4.2"}),
        "another repository of ours": template({"name": "web", "image": f"{X}/shop/api:1.4.2"}),
        "another repository in a text": lines("name: web", f"image: {X}/shop/api:1.4.2"),
        "another image in a custom resource": custom(name="web", image="quay.io/other/server:1.4.2"),
        "another image by parts": custom(api={"image": "quay.io/other/server", "tag": "canary"}, web={"enabled": True}),
        "a longer path": config_map(i=f"{X}/shop/web/sidecar:1.4.2"),
        "a path of another team": config_map(i=f"{X}/team/web:1.4.2"),
        "a longer name": config_map(i=f"{X}/shop/web-admin:1.4.2 {X}/shop/web2:canary"),
        "a shorter name": config_map(i=f"{X}/shop/we:1.4.2 {X}/sho/web:canary"),
        "a name with another separator": config_map(i=f"{X}/shop/my_web:1.4.2 {X}/shop-web:canary"),
        "a longer tag": custom(image="shop/web:1.4.20-rc1"),
        "a tag with another beginning": custom(image="shop/web:11.4.2"),
        "a part of a tag": custom(image="shop/web:canary-1.4.2-amd64"),
        "the version label of another image": template({"name": "c", "image": "quay.io/o/s:9"}, labels={"app": "web", "app.kubernetes.io/version": "1.4.2", "helm.sh/chart": "web-1.4.2", "version": "v1"}),
        "a chart's label": obj("ConfigMap", {"data": {"web": "x"}}, api="v1", labels={"helm.sh/chart": "shop-1.4.2"}),
        "owner references": obj("Thing", {"spec": {"name": "web"}}, ownerReferences=[{"name": "canary", "uid": "1.4.2"}]),
        "managed fields": obj("Thing", {"spec": {"name": "web"}}, managedFields=[{"manager": "canary", "time": "1.4.2"}]),
        "a resource version": obj("Thing", {"spec": {"name": "web"}}, resourceVersion="80", generation=3),
        "conditions": obj("Thing", {"spec": {"name": "web"}, "status": {"conditions": [{"reason": "canary", "message": "1.4.2"}]}}),
        "tags that Flux saw": obj("ImageRepository", {"spec": {"image": "quay.io/shop/web"}, "status": {"lastScanResult": {"latestTags": ["1.4.2"]}}}, api="image.toolkit.fluxcd.io/v1"),
        "two objects": [config_map(name="one", a="web"), config_map(name="two", a="1.4.2")],
        "the tag of another line": lines("web", *["x"] * 30, "canary"),
        "a plain tag far away": custom(a={"b": {"c": {"d": "shop/web"}}}, e={"f": {"g": {"h": "canary"}}}),
        "a plain tag in prose": custom(a={"b": {"c": "shop/web"}}, note={"d": {"e": "We run a canary in production, and it is stable."}}),
        "an API version as a tag": custom(image="shop/api", name="web", apis={"d": {"e": {"f": "v1"}}}),
    }.items()
]  # fmt: skip
NEIGHBOURS: Rows = [
    ("a monorepo's containers", template({"name": "web", "image": f"{X}/shop/web:blue"}, {"name": "api", "image": f"{X}/shop/api:green"}), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("a monorepo's versions", template({"name": "web", "image": f"{X}/shop/web:1.4.2"}, {"name": "api", "image": f"{X}/shop/api:1.4.1"}), {"shop/web": "1.4.2 | 1.4.1", "shop/api": "1.4.1 | 1.4.2"}),
    ("references in a list", custom(images=[f"{X}/shop/web:blue", f"{X}/shop/api:green"]), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("references in a mapping", custom(web=f"{X}/shop/web:blue", api=f"{X}/shop/api:green"), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("references in lines", lines(f"web: {X}/shop/web:blue", f"api: {X}/shop/api:green"), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("references in variables", deployment(env=env(WEB=f"{X}/shop/web:blue", API=f"{X}/shop/api:green")), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("references with versions in a text", lines(f"{X}/shop/web:1.4.2", f"{X}/shop/api:1.4.1"), {"shop/web": "1.4.2 | 1.4.1", "shop/api": "1.4.1 | 1.4.2"}),
    ("pairs of variables", deployment(env=env(WEB_IMAGE=f"{X}/shop/web", WEB_TAG="blue", API_IMAGE=f"{X}/shop/api", API_TAG="green")), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("pairs of keys", custom(webImage="shop/web", webTag="blue", apiImage="shop/api", apiTag="green"), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("pairs of properties", lines("web.image=shop/web", "web.tag=blue", "api.image=shop/api", "api.tag=green"), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("elements of a list", custom(list=[{"image": "shop/web", "tag": "blue"}, {"image": "shop/api", "tag": "green"}]), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("sections of values", custom(web={"image": {"repository": "shop/web", "tag": "blue"}}, api={"image": {"repository": "shop/api", "tag": "green"}}), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("sections of values in a text", lines("web:", "  image:", "    repository: shop/web", "    tag: blue", "api:", "  image:", "    repository: shop/api", "    tag: green"), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("sections of TOML", lines("[web]", 'image = "shop/web"', 'tag = "blue"', "", "[api]", 'image = "shop/api"', 'tag = "green"'), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("blocks of HCL", lines('module "web" {', '  image = "shop/web"', '  tag   = "blue"', "}", 'module "api" {', '  image = "shop/api"', '  tag   = "green"', "}"), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("elements of a list in a text", lines("- name: web", "  newTag: blue", "- name: api", "  newTag: green"), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("keys with tags", custom(web={"tag": "blue"}, api={"tag": "green"}), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("keys with tags in a text", lines("web:", "  tag: blue", "api:", "  tag: green"), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("a foreign neighbour with a tag", custom(list=[{"image": "shop/web", "tag": "blue"}, {"image": "quay.io/o/s", "tag": "green"}]), {"shop/web": "blue | green"}),
    ("a foreign neighbour in a text", lines("- image: shop/web", "  tag: blue", "- image: quay.io/o/s", "  tag: green"), {"shop/web": "blue | green"}),
    ("JSON of sections", config_map(v=json.dumps({"web": {"image": "shop/web", "tag": "blue"}, "api": {"image": "shop/api", "tag": "green"}})), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("pretty JSON of sections", config_map(v=json.dumps({"web": {"image": "shop/web", "tag": "blue"}, "api": {"image": "shop/api", "tag": "green"}}, indent=2)), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("pretty JSON inside of YAML", lines("config: |", *(f"  {line}" for line in json.dumps({"web": {"image": "shop/web", "tag": "blue"}, "api": {"image": "shop/api", "tag": "green"}}, indent=2).split("\n"))), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("sections in base64", config_map(v=b64("- name: web\n  newTag: blue\n- name: api\n  newTag: green\n")), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("a name that is the end of two", custom(image=f"{X}/shop/web:blue"), {"shop/web": "blue | green", "team/web": "| blue green"}),
    ("a full path without a host", custom(image="shop/web:blue"), {"shop/web": "blue | green", "team/web": "| blue green"}),
    ("a folder that is a repository", custom(image=f"{X}/shop:blue"), {"shop": "blue | green", "shop/web": "| blue green"}),
    ("steps of a task", cr("Task", "tekton.dev/v1", steps=[{"name": "a", "image": f"{X}/shop/web:blue"}, {"name": "b", "image": f"{X}/shop/api:green"}]), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("versions of a map", custom(images={"1.4.1": f"{X}/shop/web:blue", "1.4.2": f"{X}/shop/api:green"}), {"shop/web": "blue | green", "shop/api": "green | blue"}),
    ("arguments of two images", deployment(args=["--web-image", f"{X}/shop/web", "--web-tag", "blue", "--api-image", f"{X}/shop/api", "--api-tag", "green"]), {"shop/web": "blue | green", "shop/api": "green | blue"}),
]  # fmt: skip
PATTERNS: Rows = [
    (title, value, {"shop/web": "| 1.4.2 canary"})
    for title, value in {
        "a policy of hosts": cr("ClusterPolicy", "kyverno.io/v1", rules=[{"validate": {"pattern": {"spec": {"containers": [{"image": f"{X}/*"}]}}}}]),
        "a policy of a repository": cr("ClusterPolicy", "kyverno.io/v1", rules=[{"verifyImages": [{"imageReferences": [f"{X}/shop/web:*"]}]}]),
        "a policy of a folder": cr("ClusterImagePolicy", "policy.sigstore.dev/v1beta1", images=[{"glob": f"{X}/shop/**"}]),
        "a policy of prefixes": cr("ClusterImagePolicy", "policy.sigstore.dev/v1beta1", images=[{"glob": f"{X}/shop/web*"}]),
        "Gatekeeper's repositories": cr("K8sAllowedRepos", "constraints.gatekeeper.sh/v1beta1", parameters={"repos": [f"{X}/"]}),
        "a pattern of Connaisseur": lines("policy:", f"- pattern: '{X}/shop/web:*'", "  validator: allow"),
        "a regular expression": config_map(r=f"^{X}/shop/web:.*$"),
        "a regular expression with escapes": config_map(r=r"^contoso\.azurecr\.io/shop/web:[^:]+$"),
        "CEL": cr("ValidatingAdmissionPolicy", "admissionregistration.k8s.io/v1", validations=[{"expression": f"object.spec.containers.all(c, c.image.startsWith('{X}/'))"}]),
    }.items()
]  # fmt: skip
FURTHER: Rows = [
    ("a purge command", lines("acr purge --filter 'shop/web:.*' --ago 30d --untagged"), {"shop/web": "| 1.4.2 canary"}),
    ("a purge command with the beginning of tags", lines("acr purge --filter 'shop/web:canary-.*' --filter 'shop/web:rc.+' --ago 7d"), {"shop/web": "| 1.4.2 canary"}),
    ("a purge command with a pattern", lines("acr purge --filter 'shop/web:^canary-.*' --ago 30d"), {"shop/web": "| 1.4.2 canary"}),
    ("our host and a service's name", config_map(REGISTRY=X, APP_NAME="web"), {"shop/web": "| 1.4.2 canary"}),
    ("our host and a label", config_map(registry=X, app="web", tier="frontend"), {"shop/web": "| 1.4.2 canary"}),
    ("our host's login page", config_map(u=f"https://{X}/", n="web"), {"shop/web": "| 1.4.2 canary"}),
    ("a pull secret's host", config_map(dockerconfig=json.dumps({"auths": {X: {"username": "web"}}})), {"shop/web": "| 1.4.2 canary"}),
    ("release notes of something else", config_map(n="web: fixed in kubernetes v1.28 and helm 3.12"), {"shop/web": "| 1.4.2 canary"}),
    ("a variable and a mount", lines("docker run -v $PWD:ro -e web busybox"), {"shop/web": "| 1.4.2 canary"}),
    ("a plain tag in another list", custom(a=["web", "api"], b={"c": {"d": ["canary"]}}), {"shop/web": "| 1.4.2 canary"}),
    ("a service of a mesh with a subset's labels", cr("VirtualService", "networking.istio.io/v1", hosts=["web"], http=[{"route": [{"destination": {"host": "web", "port": {"number": 80}}}]}]), {"shop/web": "| 80 canary"}),
    ("a role of a user", custom(users=[{"name": "web", "role": "x", "uid": "1000", "gid": 3}]), {"shop/web": "| 3 canary"}),
    ("an environment of a pod", deployment(env=env(APP="web", STAGE="x", PORT="80", WORKERS="3")), {"shop/web": "| 80 3 canary"}),
    ("a service port by its name", deployment(env=env(WEB_SERVICE_PORT="80", WEB_HOST="web")), {"shop/web": "| 80 canary"}),
    ("a StatefulSet's service", obj("StatefulSet", {"spec": {"serviceName": "web", "replicas": 3, "revisionHistoryLimit": 10, "template": {"spec": {"containers": [{"name": "c", "image": "busybox:1"}]}}}}, api="apps/v1"), {"shop/web": "| 3 10 canary"}),
    ("a budget", custom(name="web", minAvailable=1, maxUnavailable="25%", replicas=3), {"shop/web": "| 1 3 25 canary"}),
    ("a ServiceMonitor", cr("ServiceMonitor", "monitoring.coreos.com/v1", selector={"matchLabels": {"app": "web"}}, endpoints=[{"port": "web", "interval": "30s"}]), {"shop/web": "| 30s canary"}),
    ("a dashboard of two services", config_map(d=json.dumps({"title": "web", "version": 3, "panels": []})), {"shop/web": "| 1.4.2 canary"}),
]  # fmt: skip
OWN = {
    "name": "main",
    "image": f"{X}/shop/web:1.1.0",
    "env": env(LOG_LEVEL="debug", ENVIRONMENT="production", WORKERS="3"),
}
PLAIN = {"shop/web": "| production staging main stable canary debug 3 50"}
USED = {"shop/web": "1.1.0 | production staging main stable canary debug 3 50"}
THINGS: Rows = [
    ("variables of an application", deployment(env=env(APP="web", ENVIRONMENT="production", LOG_LEVEL="debug")), PLAIN),
    ("variables in a text", lines("APP_NAME=web", "APP_ENV=production", "LOG_LEVEL=debug"), PLAIN),
    ("settings of an application", lines("spring:", "  application:", "    name: web", "  profiles:", "    active: production", "logging.level: debug"), PLAIN),
    ("arguments beside variables", template({**OWN, "args": ["serve", "web"]}), USED),
    ("annotations of the workload", obj("Thing", {"spec": {"x": 1}}, annotations={"team": "web", "stage": "production", "deployment.kubernetes.io/revision": "3"}), PLAIN),
    ("subsets of a mesh", cr("DestinationRule", "networking.istio.io/v1", host="web", subsets=[{"name": "stable"}, {"name": "canary"}]), PLAIN),
    ("a route to a subset", cr("VirtualService", "networking.istio.io/v1", http=[{"route": [{"destination": {"host": "web", "subset": "canary"}, "weight": 50}]}]), PLAIN),
    ("a branch of another host", cr("GitRepository", "source.toolkit.fluxcd.io/v1", url="https://git.example/shop/web", ref={"branch": "main", "tag": "stable"}), PLAIN),
    ("a branch over SSH", cr("Application", "argoproj.io/v1alpha1", source={"repoURL": "ssh://git@git.example/shop/web", "targetRevision": "staging"}), PLAIN),
    ("branches of a workflow", lines("name: web", "on:", "  push:", "    branches: [main, staging]", "environment: production"), PLAIN),
    ("a toleration", template({"name": "c", "image": "busybox:1"}, tolerations=[{"key": "web", "operator": "Equal", "value": "production"}]), PLAIN),
    ("the items of a volume", template({"name": "c", "image": "busybox:1"}, volumes=[{"name": "v", "configMap": {"name": "web", "items": [{"key": "production", "path": "web"}]}}]), PLAIN),
    ("a tenant", custom(apps=[{"name": "web", "tier": "production", "replicas": 3}]), PLAIN),
    ("an image with its environment", custom(image="shop/web", environment="production"), {"shop/web": "production | staging"}),
    ("an image of one word with its environment", custom(image="web", environment="production"), {"shop/web": "production | staging"}),
]  # fmt: skip
WORLDS = [world(*row) for row in (*NAMES_ALONE, *TAGS_ELSEWHERE, *NEIGHBOURS, *PATTERNS, *FURTHER, *THINGS)]


@pytest.mark.parametrize("case", WORLDS, ids=lambda case: case.title)
def test_near_miss_keeps_nothing_else(case: MentionWorld) -> None:
    found = read(case)
    assert {repository: kept(found, repository, *tags) for repository, tags in case.tags.items()} == {
        repository: case.must_stay(repository) for repository in case.tags
    }


def test_long_text_names_whole_words_only() -> None:
    """A long text is searched in another way than a short one."""
    filler = "".join(
        f"key{number}: value of my-web:canary and {X}/shop/web{number}:canary\n" for number in range(2_000)
    )
    names = [f"{X}/shop/web:stable{number}" for number in range(20)]
    found = read(world("long", config_map(a=f"{filler}{' '.join(names)}"), {"shop/web": "stable0 | canary"}))
    assert kept(found, "shop/web", "stable0", "stable19", "canary") == {"stable0", "stable19"}
