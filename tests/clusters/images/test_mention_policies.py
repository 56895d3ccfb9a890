"""Policies that compare images with patterns, and objects with lookalikes: no tag is kept for them."""

from __future__ import annotations

import pytest

from tests.clusters.images.test_mention_kinds import Rows, cr, lines, world
from tests.clusters.images.test_mentions import read
from tests.helpers.cluster_objects import kept
from tests.helpers.mention_builders import X, config_map, deployment, env, obj
from tests.helpers.mention_worlds import MentionWorld

HEX = "7" * 64


def template(
    *containers: dict[str, object], kind: str = "Deployment", api: str = "apps/v1", **spec: object
) -> dict[str, object]:
    inner = {"metadata": {}, "spec": {"containers": list(containers), **spec}}
    return obj(kind, {"spec": {"template": inner}}, api=api)


GO = {"shop/web": "| 1.4.2 canary stable gold a1b2c3d v1 16"}
POLICIES: Rows = [
    ("gatekeeper allowed repos", cr("K8sAllowedRepos","constraints.gatekeeper.sh/v1beta1", match={"kinds":[{"apiGroups":[""],"kinds":["Pod"]}]}, parameters={"repos":[f"{X}/", f"{X}/shop/", f"{X}/shop/web"]}), GO),
    ("gatekeeper allowed repos exact prefix", cr("K8sAllowedRepos","constraints.gatekeeper.sh/v1beta1", parameters={"repos":[f"{X}/shop/web:"]}), GO),
    ("gatekeeper disallowed tags", cr("K8sDisallowedTags","constraints.gatekeeper.sh/v1beta1", parameters={"tags":["latest","canary"],"exemptImages":[f"{X}/shop/*"]}), GO),
    ("gatekeeper exemptImages star", cr("K8sPSPPrivilegedContainer","constraints.gatekeeper.sh/v1beta1", parameters={"exemptImages":[f"{X}/shop/web*"]}), GO),
    ("gatekeeper exemptImages exact", cr("K8sPSPPrivilegedContainer","constraints.gatekeeper.sh/v1beta1", parameters={"exemptImages":[f"{X}/shop/web:*", f"{X}/shop/web@*"]}), GO),
    ("kyverno allowed registries pattern", cr("ClusterPolicy","kyverno.io/v1", rules=[{"validate":{"pattern":{"spec":{"containers":[{"image":f"{X}/shop/web:* | {X}/shop/*"}]}}}}]), GO),
    ("kyverno imageReferences", cr("ClusterPolicy","kyverno.io/v1", rules=[{"verifyImages":[{"imageReferences":[f"{X}/shop/web:*"],"attestors":[{"entries":[{"keys":{"publicKeys":"k8s://x/y"}}]}]}]}]), GO),
    ("kyverno not latest", cr("ClusterPolicy","kyverno.io/v1", rules=[{"validate":{"pattern":{"spec":{"containers":[{"image":f"!{X}/shop/web:latest"}]}}}}]), {"shop/web":"| 1.4.2 canary"}),
    ("kyverno mutate replace registry", cr("ClusterPolicy","kyverno.io/v1", rules=[{"mutate":{"foreach":[{"list":"request.object.spec.containers","patchStrategicMerge":{"spec":{"containers":[{"name":"{{ element.name }}","image":f'{X}/{{{{ images.containers."{{{{element.name}}}}".path}}}}:{{{{images.containers."{{{{element.name}}}}".tag}}}}'}]}}}]}}]), GO),
    ("sigstore clusterimagepolicy", cr("ClusterImagePolicy","policy.sigstore.dev/v1beta1", images=[{"glob":f"{X}/shop/web**"},{"glob":f"{X}/shop/*"}]), GO),
    ("validating admission policy cel", cr("ValidatingAdmissionPolicy","admissionregistration.k8s.io/v1", validations=[{"expression":f"object.spec.containers.all(c, c.image.startsWith('{X}/shop/'))"}]), GO),
    ("validating admission policy cel startsWith name", cr("ValidatingAdmissionPolicy","admissionregistration.k8s.io/v1", validations=[{"expression":f"object.spec.containers.all(c, c.image.startsWith('{X}/shop/web'))"}]), GO),
    ("cel matches regexp", cr("ValidatingAdmissionPolicy","admissionregistration.k8s.io/v1", validations=[{"expression":f"c.image.matches('^{X}/shop/web:.*$')"}]), GO),
    ("rego template", cr("ConstraintTemplate","templates.gatekeeper.sh/v1", targets=[{"rego":f'violation[{{"msg": msg}}] {{\n  not startswith(container.image, "{X}/shop/web")\n}}\n'}]), GO),
    ("connaisseur pattern", config_map(v=f"policy:\n- pattern: {X}/shop/web:*\n  validator: allow\n"), GO),
    ("ratify store", cr("Verifier","config.ratify.deislabs.io/v1beta1", parameters={"trustPolicyDoc":{"trustPolicies":[{"registryScopes":[f"{X}/shop/*"]}]}}), GO),
    ("notation trust policy exact scope", cr("Verifier","config.ratify.deislabs.io/v1beta1", parameters={"registryScopes":["*"]}), GO),
    ("version of other thing in prose", config_map(readme="# web\nRequires Kubernetes 1.28 and Helm 3.12. Node 1.4.2 was used once.\n"), {"shop/web":"1.4.2 1.28 3.12 | 1.5.0 canary"}),
    ("webhook config", obj("MutatingWebhookConfiguration",{"webhooks":[{"name":"web.example.com","clientConfig":{"service":{"name":"web","path":"/mutate","port":443}},"timeoutSeconds":16}]},api="admissionregistration.k8s.io/v1"), GO),
    ("endpoint slice", obj("EndpointSlice",{"endpoints":[{"addresses":["10.0.1.16"],"targetRef":{"kind":"Pod","name":"web-1.4.2"}}],"ports":[{"name":"web","port":16}]},api="discovery.k8s.io/v1",labels={"kubernetes.io/service-name":"web"}), GO),
    ("service mesh subset", cr("VirtualService","networking.istio.io/v1", hosts=["web"], http=[{"route":[{"destination":{"host":"web.shop.svc.cluster.local","subset":"canary"},"weight":16}]}]), GO),
    ("pod template hash in names", obj("ReplicaSet",{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"busybox:1"}]}}}},api="apps/v1",name="web-a1b2c3d",labels={"pod-template-hash":"a1b2c3d"}), GO),
    ("sha inside annotations checksum", deployment(meta={"annotations":{"checksum/config":"a1b2c3d"+"0"*57}, "name":"web"}), GO),
    ("other registry same tag", config_map(i="quay.io/acme/web:gold docker.io/acme/api:canary"), GO),
    ("mail and user", config_map(o="owner: web@example.com\nteam: gold\n"), {"shop/web":"| canary stable"}),
    ("kubeconfig context", config_map(k="contexts:\n- context:\n    cluster: web\n    user: gold\n  name: web\ncurrent-context: web\n"), {"shop/web":"| canary stable"}),
    ("feature flags", config_map(web_enabled="true", canary="true", stable="false"), GO),
    ("ingress canary annotations", obj("Ingress",{"spec":{"rules":[{"http":{"paths":[{"backend":{"service":{"name":"web"}}}]}}]}},api="networking.k8s.io/v1",annotations={"nginx.ingress.kubernetes.io/canary":"true","nginx.ingress.kubernetes.io/canary-weight":"16"},name="web"), GO),
    ("db named as repo", config_map(DATABASE="web", DB_USER="stable", DB_PORT="16"), {"shop/web":"| canary gold v1"}),
    ("vpa", cr("VerticalPodAutoscaler","autoscaling.k8s.io/v1", targetRef={"kind":"Deployment","name":"web"}, resourcePolicy={"containerPolicies":[{"containerName":"web","minAllowed":{"cpu":"16"}}]}), GO),
    ("analysis template", cr("AnalysisTemplate","argoproj.io/v1alpha1", args=[{"name":"service-name"},{"name":"track","value":"canary"}], metrics=[{"name":"web","provider":{"prometheus":{"query":'sum(rate(x{app="web"}[5m]))'}}}]), {"shop/web":"| 1.4.2 gold"}),
    ("longer name containing ours", config_map(i=f"{X}/shop/web-frontend:gold {X}/shop/webapp:canary myweb:stable"), GO),
    ("nested below ours", config_map(i=f"{X}/shop/web/nginx:gold"), GO),
    ("tag prefix", config_map(i=f"{X}/shop/web:1.4.20 {X}/shop/web:stable-2"), GO),
    ("our name as host", config_map(u="https://web:8443/stable/index.html"), GO),
    ("our name as path seg of a foreign image", config_map(u="ghcr.io/org/web/worker:gold"), GO),
    ("image list of several with distinct tags in text", lines(f"- {X}/shop/web:1.0.1", f"- {X}/shop/api:1.0.2", "- quay.io/x/y:1.0.3"), {"shop/web":"1.0.1 | 1.0.2 1.0.3","shop/api":"1.0.2 | 1.0.1 1.0.3"}),
    ("configmap of versions for other names", config_map(web="gold", api="canary"), {"shop/web":"gold | canary","shop/api":"canary | gold"}),
    ("multi env with stems distant", deployment(env=env(WEB_IMAGE=f"{X}/shop/web", A="1", B="2", C="3", D="4", API_IMAGE=f"{X}/shop/api", WEB_IMAGE_TAG="gold", API_IMAGE_TAG="canary")), {"shop/web":"gold | canary","shop/api":"canary | gold"}),
    ("global tag two levels above", lines("global:","  tag: gold","web:","  image:","    repository: "+X+"/shop/web"), {"shop/web":"gold | canary"}),
]  # fmt: skip
WORLDS = [world(*row) for row in (*POLICIES,)]


@pytest.mark.parametrize("case", WORLDS, ids=lambda case: case.title)
def test_lookalike_keeps_only_named_tags(case: MentionWorld) -> None:
    found = read(case)
    assert {repository: kept(found, repository, *tags) for repository, tags in case.tags.items()} == {
        repository: case.must_stay(repository) for repository in case.tags
    }
