"""Objects of deployment tools, operators and platforms: each keeps its tag, and no other."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.clusters.images.test_mention_kinds import D, Rows, cr, lines, world
from tests.clusters.images.test_mentions import read
from tests.helpers.cluster_objects import kept
from tests.helpers.mention_builders import X, b64, config_map, deployment, env, obj
from tests.helpers.mention_worlds import MentionWorld

HEX = "7" * 64


def template(
    *containers: dict[str, object], kind: str = "Deployment", api: str = "apps/v1", **spec: object
) -> dict[str, object]:
    inner = {"metadata": {}, "spec": {"containers": list(containers), **spec}}
    return obj(kind, {"spec": {"template": inner}}, api=api)


REPOSITORY = obj(
    "HelmRepository",
    {"spec": {"type": "oci", "url": f"oci://{X}/charts"}},
    api="source.toolkit.fluxcd.io/v1",
    name="acr",
)
DEPLOYMENT: Rows = [
    ("helm values with registry+repo+tag, tag with v added by template", lines("image:", f"  registry: {X}", "  repository: shop/web", "  tag: 2.4.1", "# template: {{ .registry }}/{{ .repository }}:v{{ .tag }}"), {"shop/web":"v2.4.1 | v2.4.0"}),
    ("helm values image name split prefix", lines("imagePrefix: "+X+"/shop", "services:", "  web:", "    image: web", "    tag: rc", "  api:", "    image: api", "    tag: ga"), {"shop/web":"rc | ga old","shop/api":"ga | rc old"}),
    ("helm appVersion in chart with default tag", lines("apiVersion: v2", "name: web", "appVersion: 2024-spring", "version: 0.1.0"), {"shop/web":"2024-spring 0.1.0 | 2023-fall"}),
    ("argo rollouts canary steps", template({"name":"m","image":f"{X}/shop/web:s1"}, kind="Rollout", api="argoproj.io/v1alpha1"), {"shop/web":"s1 | s2"}),
    ("argo multi sources helm parameters", cr("Application","argoproj.io/v1alpha1", sources=[{"repoURL":"https://git","helm":{"parameters":[{"name":"web.image.name","value":"shop/web"},{"name":"web.image.tag","value":"blue"},{"name":"api.image.name","value":"shop/api"},{"name":"api.image.tag","value":"green"}]}}]), {"shop/web":"blue | green","shop/api":"green | blue"}),
    ("argo applicationset git generator template", cr("ApplicationSet","argoproj.io/v1alpha1", template={"spec":{"source":{"kustomize":{"images":[f"{X}/shop/web:{{{{.version}}}}"]}}}}), {"shop/web":"a b |"}),
    ("argo image updater allow tags regexp", obj("Application",{"spec":{}},api="argoproj.io/v1alpha1",annotations={"argocd-image-updater.argoproj.io/image-list":f"web={X}/shop/web","argocd-image-updater.argoproj.io/web.allow-tags":"regexp:^release-.*$"}), {"shop/web":"release-a release-b |"}),
    ("argo image updater semver constraint after name", obj("Application",{"spec":{}},api="argoproj.io/v1alpha1",annotations={"argocd-image-updater.argoproj.io/image-list":f"web={X}/shop/web:~1.2"}), {"shop/web":"1.2.0 1.2.5 |"}),
    ("flux helmrelease valuesFrom configmap", config_map(**{"values.yaml":f"global:\n  imageRegistry: {X}\nfrontend:\n  image:\n    repository: shop/web\n    tag: w23\n"}), {"shop/web":"w23 | w22"}),
    ("flux imageupdate strategy", cr("ImagePolicy","image.toolkit.fluxcd.io/v1beta2", imageRepositoryRef={"name":"web"}, policy={"semver":{"range":"1.x"}}), {"shop/web":"| 1.0.0"}),
    ("kustomize configMapGenerator literals", lines("configMapGenerator:", "- name: versions", "  literals:", f"  - RUNNER_IMAGE={X}/ci/runner", "  - RUNNER_TAG=night", "  - OTHER_TAG=day"), {"ci/runner":"night | week"}),
    ("kustomize replacements digest", lines("images:", "- name: app", f"  newName: {X}/shop/web", f"  digest: sha256:{HEX}"), {"shop/web":"| edge"}),
    ("helmfile set list", lines("releases:", "- name: web", "  chart: ./web", "  set:", "  - name: image.repository", f"    value: {X}/shop/web", "  - name: image.tag", "    value: spring"), {"shop/web":"spring | autumn"}),
    ("fleet.yaml helm values", cr("GitRepo","fleet.cattle.io/v1alpha1", helm={"values":{"image":{"repository":f"{X}/shop/web","tag":"spring"}}}), {"shop/web":"spring | autumn"}),
    ("fleet bundle repo chart version over fields", cr("Bundle","fleet.cattle.io/v1alpha1", helm={"repo":f"oci://{X}/charts","chart":"shop","version":"0.4.1"}), {"charts/shop":"0.4.1 | 0.4.0"}),
    ("fleet bundle chart range", cr("Bundle","fleet.cattle.io/v1alpha1", helm={"repo":f"oci://{X}/charts","chart":"shop","version":"0.4.x"}), {"charts/shop":"0.4.1 0.4.0 |"}),
    ("fleet bundle repo is the whole chart", cr("Bundle","fleet.cattle.io/v1alpha1", helm={"repo":f"oci://{X}/charts/shop","version":"spring"}), {"charts/shop":"spring | autumn"}),
    ("fleet bundle oci contents", cr("Bundle","fleet.cattle.io/v1alpha1", contentsId="s-0123", helm={"chart":f"oci://{X}/charts/shop"}), {"charts/shop":"0.4.1 0.4.0 |"}),
    ("fleet content gz", obj("Content",{"content":b64(gzip.compress(json.dumps({"resources":[{"content":f"spec:\n  containers:\n  - image: {X}/shop/web:spring\n"}]}).encode()))},api="fleet.cattle.io/v1alpha1"), {"shop/web":"spring | autumn"}),
    ("fleet imagescan", cr("ImageScan","fleet.cattle.io/v1alpha1", image=f"{X}/shop/web", tagName="web-scan", policy={"semver":{"range":"*"}}), {"shop/web":"1.0.0 1.1.0 |"}),
    ("tekton results split", cr("Pipeline","tekton.dev/v1", params=[{"name":"imageRepo","default":f"{X}/ci/kaniko"},{"name":"imageTag","default":"debug"}], tasks=[]), {"ci/kaniko":"debug | slim"}),
    ("tekton taskrun sidecar", cr("TaskRun","tekton.dev/v1", taskSpec={"sidecars":[{"name":"d","image":f"{X}/ci/dind:old"}]}), {"ci/dind":"old | new"}),
    ("tekton hub config-defaults", config_map("config-defaults", **{"default-affinity-assistant-pod-template":f"image: {X}/ci/aff:x1", "default-container-resource-requirements":"x"}), {"ci/aff":"x1 | x2"}),
    ("tekton feature: shell image arg", deployment(args=["-entrypoint-image",f"{X}/tekton/entrypoint:v9","-nop-image",f"{X}/tekton/nop@{D}","-shell-image","cgr/busybox:1"]), {"tekton/entrypoint":"v9 | v8","tekton/nop":"| v8"}),
    ("knative config-br-defaults etc", config_map("config-features", queueSidecarImage=f"{X}/knative/queue@{D}"), {"knative/queue":"| x"}),
    ("knative revision status containerStatuses digest", obj("Revision",{"spec":{"containers":[{"image":f"{X}/shop/web:old"}]},"status":{"containerStatuses":[{"name":"u","imageDigest":f"{X}/shop/web@{D}"}]}},api="serving.knative.dev/v1"), {"shop/web":"old | new"}),
    ("crossplane composition patch fmt", cr("Composition","apiextensions.crossplane.io/v1", resources=[{"base":{"spec":{"forProvider":{"manifest":{"spec":{"image":f"{X}/shop/web"}}}}},"patches":[{"fromFieldPath":"spec.tag","toFieldPath":"spec.image","transforms":[{"type":"string","string":{"fmt":f"{X}/shop/web:%s"}}]}]}]), {"shop/web":"a b |"}),
    ("crossplane function package", cr("Function","pkg.crossplane.io/v1beta1", package=f"xpkg:{X}/xp/func:v0.3.0"), {"xp/func":"v0.3.0 | v0.2.0"}),
    ("crossplane helm release", cr("Release","helm.crossplane.io/v1beta1", forProvider={"chart":{"name":"shop","repository":f"oci://{X}/charts","version":"0.9.1"},"set":[{"name":"image.tag","value":"spring"}],"values":{"image":{"repository":"shop/web"}}}), {"charts/shop":"0.9.1 | 0.9.0","shop/web":"spring | autumn"}),
    ("keda scaledjob template in jobTargetRef init", cr("ScaledJob","keda.sh/v1alpha1", jobTargetRef={"template":{"spec":{"initContainers":[{"name":"i","image":f"{X}/shop/init:v"}],"containers":[{"name":"w","image":f"{X}/shop/worker:w"}]}}}), {"shop/init":"v | w","shop/worker":"w | v"}),
    ("argo workflow when expression", cr("Workflow","argoproj.io/v1alpha1", templates=[{"name":"x","container":{"image":"{{=inputs.parameters.reg + '/ci/runner:' + 'stable'}}"}}]), {"ci/runner":"stable other |"}),
    ("argo workflow podSpecPatch", cr("Workflow","argoproj.io/v1alpha1", podSpecPatch=json.dumps({"containers":[{"name":"main","image":f"{X}/ci/runner:stable"}]})), {"ci/runner":"stable | edge"}),
    ("argo workflow-controller-configmap executor", config_map("workflow-controller-configmap", executor=f"imagePullPolicy: IfNotPresent\nimage: {X}/argo/argoexec:v3.5\n", images=f"docker/whalesay:latest:\n  cmd: [cowsay]\n{X}/ci/runner:beta:\n  cmd: [run]\n"), {"argo/argoexec":"v3.5 | v3.4","ci/runner":"beta | alpha"}),
    ("spark app deps repo", cr("SparkApplication","sparkoperator.k8s.io/v1beta2", driver={"image":f"{X}/data/spark:drv"}, executor={"image":f"{X}/data/spark:exec"}), {"data/spark":"drv exec | old"}),
    ("ray autoscaler env", cr("RayService","ray.io/v1", rayClusterConfig={"autoscalerOptions":{"image":f"{X}/ml/ray:auto"},"rayVersion":"2.9.0"}), {"ml/ray":"auto 2.9.0 | old"}),
    ("kubeflow pytorchjob master", cr("PyTorchJob","kubeflow.org/v1", pytorchReplicaSpecs={"Master":{"template":{"spec":{"containers":[{"name":"p","image":f"{X}/ml/train:t1"}]}}}}), {"ml/train":"t1 | t2"}),
    ("kubeflow notebook spawner list", config_map("jupyter-web-app-config", **{"spawner_ui_config.yaml":f"spawnerFormDefaults:\n  image:\n    value: {X}/nb/scipy:n1\n    options:\n    - {X}/nb/scipy:n1\n    - {X}/nb/full:n2\n  imageGroupOne:\n    value: {X}/nb/code:n3\n"}), {"nb/scipy":"n1 | n2 n3","nb/full":"n2 | n1","nb/code":"n3 | n1"}),
    ("kfp pipeline ir spec json", config_map(p=json.dumps({"deploymentSpec":{"executors":{"e":{"container":{"image":f"{X}/ml/train:kfp","command":["sh","-c"]}}}}})), {"ml/train":"kfp | x"}),
    ("jupyterhub profile list python", lines("c.KubeSpawner.profile_list = [", "  {", "    'display_name': 'GPU',", f"    'kubespawner_override': {{'image': '{X}/nb/gpu:cuda'}},", "  },", "]"), {"nb/gpu":"cuda | cpu"}),
    ("airflow env", deployment(env=env(AIRFLOW__KUBERNETES__WORKER_CONTAINER_REPOSITORY=f"{X}/data/airflow", AIRFLOW__KUBERNETES__WORKER_CONTAINER_TAG="wk7")), {"data/airflow":"wk7 | wk6"}),
    ("airflow.cfg", lines("[kubernetes_executor]", f"worker_container_repository = {X}/data/airflow", "worker_container_tag = wk7", "namespace = airflow"), {"data/airflow":"wk7 | wk6"}),
    ("airflow pod template file", lines("apiVersion: v1","kind: Pod","spec:","  containers:","  - name: base",f"    image: {X}/data/airflow:wk7"), {"data/airflow":"wk7 | wk6"}),
    ("dag python operator split", lines("KubernetesPodOperator(", f"    image='{X}/etl/load' + ':' + VERSION,", ")"), {"etl/load":"a b |"}),
    ("dag os.path.join", lines("image = os.path.join(REGISTRY, 'etl/load:nightly')"), {"etl/load":"nightly | weekly"}),
    ("dag join list", lines("image = '/'.join([REGISTRY, 'etl', 'load']) + ':nightly'"), {"etl/load":"nightly | weekly"}),
    ("python dict separate", lines("IMAGES = {", "    'load': {'repo': 'etl/load', 'tag': 'nightly'},", "    'save': {'repo': 'etl/save', 'tag': 'weekly'},", "}"), {"etl/load":"nightly | weekly","etl/save":"weekly | nightly"}),
    ("bash arrays", lines("IMAGES=(", f'  "{X}/etl/load:nightly"', '  "etl/save:weekly"', ")"), {"etl/load":"nightly | weekly","etl/save":"weekly | nightly"}),
    ("bash loop names tag", lines("TAG=nightly", "for svc in load save; do", f"  docker pull {X}/etl/${{svc}}:${{TAG}}", "done"), {"etl/load":"nightly | weekly","etl/save":"nightly | weekly"}),
    ("bash loop with literal tag", lines("for svc in load save; do", f"  docker pull {X}/etl/$svc:nightly", "done"), {"etl/load":"nightly | weekly","etl/save":"nightly | weekly"}),
    ("bash printf", lines(f"printf '%s/%s:%s' {X} etl/load nightly"), {"etl/load":"nightly | weekly"}),
    ("bash case", lines("case $ENV in", "  prod) TAG=gold;;", "  *) TAG=tin;;", "esac", f"IMG={X}/etl/load:$TAG"), {"etl/load":"gold tin other |"}),
    ("bash ${TAG:-x}", lines(f"IMG={X}/etl/load:${{TAG:-nightly}}"), {"etl/load":"nightly x |"}),
    ("bash heredoc", lines("kubectl apply -f - <<EOF", "spec:", "  image: ${REG}/etl/load:nightly", "EOF"), {"etl/load":"nightly | weekly"}),
    ("crictl pull digest separate", lines(f"REPO={X}/etl/load", f"DIGEST=sha256:{HEX}", "crictl pull $REPO@$DIGEST"), {"etl/load":"| weekly"}),
]  # fmt: skip
OPERATORS: Rows = [
    ("gitlab runner config.toml", lines("[[runners]]","  [runners.kubernetes]",f'    image = "{X}/ci/ubuntu:jammy"',f'    helper_image = "{X}/ci/helper:x86_64-latest"'), {"ci/ubuntu":"jammy | focal","ci/helper":"x86_64-latest | x86_64-v1"}),
    ("gitea act runner labels", lines("runner:","  labels:",f"  - ubuntu-latest:docker://{X}/ci/ubuntu:jammy"), {"ci/ubuntu":"jammy | focal"}),
    ("jenkins casc", lines("templates:","- name: maven","  containers:","  - name: maven",f"    image: {X}/ci/maven:jdk","    command: sleep"), {"ci/maven":"jdk | jre"}),
    ("jenkins xml", config_map(x=f"<org.csanchez.ContainerTemplate>\n  <name>maven</name>\n  <image>{X}/ci/maven:jdk</image>\n</org.csanchez.ContainerTemplate>"), {"ci/maven":"jdk | jre"}),
    ("concourse resource", lines("resources:","- name: img","  type: registry-image","  source:",f"    repository: {X}/ci/maven","    tag: jdk"), {"ci/maven":"jdk | jre"}),
    ("concourse with source host", lines("source: {repository: ci/maven, tag: jdk, registry_mirror: {host: "+X+"}}"), {"ci/maven":"jdk | jre"}),
    ("nuclio", cr("NuclioFunction","nuclio.io/v1beta1", build={"registry":f"{X}/fn","image":"processor","baseImage":"fn/base:py"}, image="processor:stable"), {"fn/processor":"stable | x","fn/base":"py | go"}),
    ("openfaas", cr("Function","openfaas.com/v1", name="f", image=f"{X}/fn/f:stable"), {"fn/f":"stable | x"}),
    ("camel integration platform", cr("IntegrationPlatform","camel.apache.org/v1", build={"registry":{"address":X,"organization":"camel"},"baseImage":f"{X}/camel/base:jdk17"}), {"camel/base":"jdk17 | jdk11"}),
    ("calico installation", cr("Installation","operator.tigera.io/v1", registry=f"{X}/", imagePath="calico", calicoNetwork={}), {"calico/node":"| v3.26"}),
    ("calico installation with variant version status", obj("Installation",{"spec":{"registry":f"{X}/","imagePath":"calico"},"status":{"calicoVersion":"v3.26.1"}},api="operator.tigera.io/v1"), {"calico/node":"v3.26.1 | v3.25.0"}),
    ("tigera imageset digests", cr("ImageSet","operator.tigera.io/v1", images=[{"image":"calico/node","digest":D}]), {"calico/node":"| v3.25.0"}),
    ("cilium values", lines("image:",f"  repository: {X}/cilium/cilium","  tag: v1.14","  useDigest: true",f"  digest: sha256:{HEX}","operator:","  image:",f"    repository: {X}/cilium/operator","    suffix: -ci","    tag: v1.14"), {"cilium/cilium":"v1.14 | v1.13","cilium/operator":"v1.14 | v1.13"}),
    ("datadog agent", cr("DatadogAgent","datadoghq.com/v2alpha1", **{"global":{"registry":f"{X}/datadog"},"override":{"nodeAgent":{"image":{"name":"agent","tag":"full"}}}}), {"datadog/agent":"full | slim"}),
    ("dynakube", cr("DynaKube","dynatrace.com/v1beta1", oneAgent={"cloudNativeFullStack":{"codeModulesImage":f"{X}/dyn/codemodules:one","version":"1.2"}}), {"dyn/codemodules":"one | two"}),
    ("eck without tag", cr("Kibana","kibana.k8s.elastic.co/v1", version="8.11.1", image=f"{X}/elastic/kibana"), {"elastic/kibana":"8.11.1 | 8.10.0"}),
    ("eck container registry flag", deployment(args=["manager",f"--container-registry={X}","--container-repository=elastic"]), {"elastic/kibana":"| 8.10.0"}),
    ("zalando", cr("OperatorConfiguration","acid.zalan.do/v1", configuration={"docker_image":f"{X}/spilo/spilo-15:3.0-p1"}), {"spilo/spilo-15":"3.0-p1 | 2.9"}),
    ("cass operator", cr("CassandraDatacenter","cassandra.datastax.com/v1beta1", serverType="cassandra", serverVersion="4.1.2", serverImage=f"{X}/k8ssandra/cass"), {"k8ssandra/cass":"4.1.2 | 4.0.0"}),
    ("cass operator image config", config_map(**{"image_config.yaml":f"images:\n  system-logger: {X}/k8ssandra/logger:v1\ndefaults:\n  cassandra:\n    repository: {X}/k8ssandra/cass\n    suffix: -ubi8\n"}), {"k8ssandra/logger":"v1 | v2","k8ssandra/cass":"4.0-ubi8 4.1-ubi8 |"}),
    ("tidb", cr("TidbCluster","pingcap.com/v1alpha1", version="v7.1.0", pd={"baseImage":f"{X}/pingcap/pd"}, tikv={"baseImage":f"{X}/pingcap/tikv"}), {"pingcap/pd":"v7.1.0 | v6","pingcap/tikv":"v7.1.0 | v6"}),
    ("tidb plain", cr("TidbCluster","pingcap.com/v1alpha1", version="nightly", pd={"baseImage":f"{X}/pingcap/pd"}, tikv={"baseImage":f"{X}/pingcap/tikv"}), {"pingcap/pd":"nightly | v6","pingcap/tikv":"nightly | v6"}),
    ("flink", cr("FlinkDeployment","flink.apache.org/v1beta1", image=f"{X}/data/flink:job", flinkVersion="v1_17"), {"data/flink":"job | 1.16"}),
    ("vitess", cr("VitessCluster","planetscale.com/v2", images={"vtgate":f"{X}/vt/lite:g1","mysqld":{"mysql80Compatible":f"{X}/vt/lite:m1"}}), {"vt/lite":"g1 m1 | x1"}),
    ("percona", cr("PerconaXtraDBCluster","pxc.percona.com/v1", crVersion="1.13.0", pxc={"image":f"{X}/percona/pxc:8.0"}, upgradeOptions={"apply":"recommended"}), {"percona/pxc":"8.0 1.13.0 | 5.7"}),
    ("capz machine template image", cr("AzureMachineTemplate","infrastructure.cluster.x-k8s.io/v1beta1", template={"spec":{"image":{"computeGallery":{"name":"web","version":"1.4.2"}}}}), {"shop/web":"1.4.2 | 1.4.1"}),
    ("kubeadm dns", cr("KubeadmControlPlane","controlplane.cluster.x-k8s.io/v1beta1", kubeadmConfigSpec={"clusterConfiguration":{"imageRepository":f"{X}/k8s","dns":{"imageRepository":f"{X}/k8s/coredns","imageTag":"v1.10.1"}}}, version="v1.28.0"), {"k8s/coredns/coredns":"v1.10.1 | v1.9.0","k8s/kube-proxy":"v1.28.0 | v1.27.0"}),
    ("vcluster", lines("vcluster:",f"  image: {X}/rancher/k3s:v1.28.2-k3s1","syncer:",f"  image: {X}/loft/vcluster:0.16"), {"rancher/k3s":"v1.28.2-k3s1 | v1.27.2-k3s1","loft/vcluster":"0.16 | 0.15"}),
    ("k3s registries", lines("mirrors:","  docker.io:","    endpoint:",f"    - https://{X}","    rewrite:",'      "^rancher/(.*)": "mirror/rancher/$1"'), {"mirror/rancher/x":"| v1"}),
    ("rke system images", lines("system_images:",f"  etcd: {X}/rancher/etcd:v3.5.9",f"  alpine: {X}/rancher/rke-tools:v0.1.90"), {"rancher/etcd":"v3.5.9 | v3.5.8","rancher/rke-tools":"v0.1.90 | v0.1.89"}),
    ("consul", lines("global:",f"  imageK8S: {X}/hashi/consul-k8s:1.3",f"  image: {X}/hashi/consul:1.17"), {"hashi/consul-k8s":"1.3 | 1.17","hashi/consul":"1.17 | 1.3"}),
    ("dagster", lines("dagster-user-deployments:","  deployments:","  - name: etl","    image:",f"      repository: {X}/dag/etl","      tag: prod","      pullPolicy: Always"), {"dag/etl":"prod | dev"}),
    ("dagster env", deployment(env=env(DAGSTER_CURRENT_IMAGE=f"{X}/dag/etl:prod")), {"dag/etl":"prod | dev"}),
    ("prefect work pool json", config_map(j=json.dumps({"job_configuration":{"job_manifest":{"spec":{"template":{"spec":{"containers":[{"image":"{{ image }}"}]}}}}},"variables":{"properties":{"image":{"default":f"{X}/flows/main:prod"}}}})), {"flows/main":"prod | dev"}),
    ("flyte task templates", lines("task_resources: {}","image:","  images:",f"    default: {X}/fly/base:py39",f"    spark: {X}/fly/spark:py310"), {"fly/base":"py39 | py310","fly/spark":"py310 | py39"}),
    ("flyte yaml list form", lines("images:",f"- name: default\n  fqn: {X}/fly/base\n  tag: stable"), {"fly/base":"stable | x"}),
    ("seldon servers", config_map("seldon-config", predictor_servers=json.dumps({"SKLEARN_SERVER":{"protocols":{"seldon":{"defaultImageVersion":"gold","image":f"{X}/sel/sklearn"}}}})), {"sel/sklearn":"gold | tin"}),
    ("mlflow", config_map(m="flavors:\n  python_function:\n    image_uri: "+X+"/ml/pyfunc:gold"), {"ml/pyfunc":"gold | tin"}),
    ("helm hook weight etc", obj("Job",{"spec":{"template":{"spec":{"containers":[{"name":"k","image":f"{X}/ops/kubectl:gold"}]}}}},api="batch/v1",annotations={"helm.sh/hook":"pre-install"}), {"ops/kubectl":"gold | tin"}),
    ("kargo warehouse", cr("Warehouse","kargo.akuity.io/v1alpha1", subscriptions=[{"image":{"repoURL":f"{X}/shop/web","semverConstraint":"^1.0.0"}}]), {"shop/web":"1.0.0 1.2.0 |"}),
    ("kargo freight", obj("Freight",{"images":[{"repoURL":f"{X}/shop/web","tag":"gold","digest":D}]},api="kargo.akuity.io/v1alpha1"), {"shop/web":"gold | tin"}),
    ("keel annotations", obj("Deployment",{"spec":{"template":{"spec":{"containers":[{"name":"a","image":f"{X}/shop/web:1.4.2"}]}}}},api="apps/v1",annotations={"keel.sh/policy":"minor","keel.sh/pollSchedule":"@every 1m"}), {"shop/web":"1.4.2 | 1.4.1"}),
    ("devspace vars", lines("vars:","  IMAGE: shop/web","images:","  web:","    image: ${IMAGE}","    tags:","    - gold","    - dev-####"), {"shop/web":"gold | tin"}),
    ("okteto", lines("dev:","  web:",f"    image: {X}/shop/web:gold"), {"shop/web":"gold | tin"}),
    ("docker compose in configmap", lines("services:","  web:","    image: ${REGISTRY}/shop/web:${TAG:-gold}"), {"shop/web":"gold tin |"}),
    ("docker compose ports", lines("services:","  web:","    image: shop/web:gold","    ports:",'    - "80:16"'), {"shop/web":"gold | 16 80"}),
    ("systemd unit", lines("[Service]","Environment=IMAGE=shop/web","Environment=TAG=gold","ExecStart=/usr/bin/podman run ${IMAGE}:${TAG}"), {"shop/web":"gold | tin"}),
    ("systemd unit with a number", lines("[Service]","Environment=IMAGE=shop/web","Environment=TAG=gold","Environment=REPLICAS=3"), {"shop/web":"gold | 3"}),
    ("quadlet", lines("[Container]",f"Image={X}/shop/web:gold","AutoUpdate=registry"), {"shop/web":"gold | tin"}),
    ("nomad-like hcl config block", lines('task "web" {','  driver = "docker"',"  config {",f'    image = "{X}/shop/web:gold"',"  }","}"), {"shop/web":"gold | tin"}),
    ("terraform vars tfvars", lines('web_image_name = "shop/web"','web_image_tag  = "gold"','api_image_name = "shop/api"','api_image_tag  = "tin"'), {"shop/web":"gold | tin","shop/api":"tin | gold"}),
    ("terraform map", lines("images = {",'  web = { repo = "shop/web", tag = "gold" }','  api = { repo = "shop/api", tag = "tin" }',"}"), {"shop/web":"gold | tin","shop/api":"tin | gold"}),
    ("pulumi yaml", lines("resources:","  d:","    properties:","      spec:","        image: ${registry}/shop/web:gold"), {"shop/web":"gold | tin"}),
    ("go template printf", lines('{{ printf "%s/%s:%s" .Values.registry "shop/web" "gold" }}'), {"shop/web":"gold | tin"}),
    ("go code const", lines("const (",'  defaultImage = "shop/web"','  defaultTag   = "gold"',")"), {"shop/web":"gold | tin"}),
    ("java annotation", lines("@Container",'static GenericContainer c = new GenericContainer("shop/web:gold");'), {"shop/web":"gold | tin"}),
    ("spring yaml nested", lines("app:","  jobs:","    image-name: shop/web","    image-version: gold"), {"shop/web":"gold | tin"}),
    ("ini with spaces", lines("[images]","web = shop/web : gold"), {"shop/web":"gold | tin"}),
    ("perl", lines("my %image = (name => 'shop/web', tag => 'gold');"), {"shop/web":"gold | tin"}),
    ("php array", lines("'image' => 'shop/web',","'tag' => 'gold',"), {"shop/web":"gold | tin"}),
    ("csharp interpolation", lines('var image = $"{registry}/shop/web:{tag}";'), {"shop/web":"gold tin |"}),
    ("rust format", lines('let image = format!("{}/shop/web:{}", reg, tag);'), {"shop/web":"gold tin |"}),
    ("kotlin template", lines('val image = "$registry/shop/web:$tag"'), {"shop/web":"gold tin |"}),
    ("powershell", lines('$image = "$($reg)/shop/web:$($tag)"'), {"shop/web":"gold tin |"}),
    ("powershell literal", lines('docker pull "$reg/shop/web:gold"'), {"shop/web":"gold | tin"}),
    ("nunjucks default filter", lines("image: {{ registry }}/shop/web:{{ tag | default('gold') }}"), {"shop/web":"gold tin |"}),
    ("helm tpl quoted", lines('image: "{{ .Values.image.registry }}/shop/web:{{ .Values.image.tag | default .Chart.AppVersion }}"'), {"shop/web":"gold tin |"}),
    ("erb", lines("image: <%= registry %>/shop/web:<%= tag %>"), {"shop/web":"gold tin |"}),
    ("azure devops var", lines("image: $(containerRegistry)/shop/web:$(Build.BuildId)"), {"shop/web":"12 13 |"}),
    ("gha var", lines("image: ${{ env.REG }}/shop/web:${{ github.sha }}"), {"shop/web":"12 13 |"}),
    ("cue interpolation", lines('image: "\\(reg)/shop/web:\\(tag)"'), {"shop/web":"gold tin |"}),
    ("jsonnet percent format", lines("image: '%(reg)s/shop/web:%(tag)s' % c"), {"shop/web":"gold tin |"}),
    ("swift-like backslash literal", lines('image: "\\(reg)/shop/web:gold"'), {"shop/web":"gold | tin"}),
    ("name without slash suffix template", lines("image: ${REG}/shop/web-${VARIANT}:gold"), {"shop/web-slim":"gold | tin"}),
    ("name prefix template", lines("image: ${REG}/shop/${APP}-api:gold"), {"shop/pay-api":"gold | tin"}),
    ("name in variable value & tag literal", deployment(env=env(APP="web", IMG="$(REG)/shop/$(APP):gold")), {"shop/web":"gold | tin"}),
]  # fmt: skip
CHARTS: Rows = [
    ("k3s helmchart repo", cr("HelmChart","helm.cattle.io/v1", chart="shop", repo=f"oci://{X}/charts", version="0.4.1"), {"charts/shop":"0.4.1 | 0.4.0"}),
    ("k3s helmchart repo no version", cr("HelmChart","helm.cattle.io/v1", chart="shop", repo=f"oci://{X}/charts"), {"charts/shop":"0.4.1 0.4.0 |"}),
    ("k3s helmchart valuesContent", cr("HelmChart","helm.cattle.io/v1", chart="stable/x", valuesContent="image:\n  repository: shop/web\n", set={"image.tag":"gold"}), {"shop/web":"gold | tin"}),
    ("flux HelmChart", [REPOSITORY, cr("HelmChart","source.toolkit.fluxcd.io/v1", chart="shop", version="0.4.1", sourceRef={"kind":"HelmRepository","name":"acr"})], {"charts/shop":"0.4.1 | 0.4.0"}),
    ("flux HelmChart star", [REPOSITORY, cr("HelmChart","source.toolkit.fluxcd.io/v1", chart="shop", version="*", sourceRef={"kind":"HelmRepository","name":"acr"})], {"charts/shop":"0.4.1 0.4.0 |"}),
    ("flux HelmChart, source with a variable", [obj("HelmRepository", {"spec": {"type": "oci", "url": f"oci://{X}/charts/${{env}}"}}, api="source.toolkit.fluxcd.io/v1", name="acr"), cr("HelmChart","source.toolkit.fluxcd.io/v1", chart="shop", version="*", sourceRef={"kind":"HelmRepository","name":"acr"})], {"charts/shop":"0.4.1 0.4.0 |"}),
    ("flux release chartRef to OCIRepository", [cr("OCIRepository","source.toolkit.fluxcd.io/v1", url=f"oci://{X}/charts/shop", ref={"semver":">=0.1.0-0"}), cr("HelmRelease","helm.toolkit.fluxcd.io/v2", chartRef={"kind":"OCIRepository","name":"x"})], {"charts/shop":"0.4.1 0.4.0 |"}),
    ("flux OCIRepository no ref", cr("OCIRepository","source.toolkit.fluxcd.io/v1", url=f"oci://{X}/charts/shop"), {"charts/shop":"latest | 0.4.0"}),
    ("flux OCIRepository digest", cr("OCIRepository","source.toolkit.fluxcd.io/v1", url=f"oci://{X}/charts/shop", ref={"digest":D}), {"charts/shop":"| 0.4.0"}),
    ("flux plain word chart version", [REPOSITORY, cr("HelmRelease","helm.toolkit.fluxcd.io/v2", chart={"spec":{"chart":"shop","version":"0.4.1","sourceRef":{"name":"acr"}}}, values={"tag":"gold"})], {"charts/shop":"0.4.1 | 0.4.0"}),
    ("flux range comparators comma", [REPOSITORY, cr("HelmRelease","helm.toolkit.fluxcd.io/v2", chart={"spec":{"chart":"shop","version":">=0.4.0, <0.5.0"}})], {"charts/shop":"0.4.1 0.4.0 |"}),
    ("flux range hyphen", [REPOSITORY, cr("HelmRelease","helm.toolkit.fluxcd.io/v2", chart={"spec":{"chart":"shop","version":"0.4.0 - 0.5.0"}})], {"charts/shop":"0.4.1 0.4.0 |"}),
    ("flux range major.minor only", [REPOSITORY, cr("HelmRelease","helm.toolkit.fluxcd.io/v2", chart={"spec":{"chart":"shop","version":"0.4"}})], {"charts/shop":"0.4.1 0.4.0 |"}),
    ("flux range major only", [REPOSITORY, cr("HelmRelease","helm.toolkit.fluxcd.io/v2", chart={"spec":{"chart":"shop","version":"0"}})], {"charts/shop":"0.4.1 0.4.0 |"}),
    ("argo range major.minor", cr("Application","argoproj.io/v1alpha1", source={"repoURL":f"{X}/charts","chart":"shop","targetRevision":"0.4"}), {"charts/shop":"0.4.1 0.4.0 |"}),
    ("argo star", cr("Application","argoproj.io/v1alpha1", source={"repoURL":f"{X}/charts","chart":"shop","targetRevision":"*"}), {"charts/shop":"0.4.1 0.4.0 |"}),
    ("argo empty rev", cr("Application","argoproj.io/v1alpha1", source={"repoURL":f"{X}/charts","chart":"shop","targetRevision":""}), {"charts/shop":"0.4.1 0.4.0 |"}),
    ("argo multi source chart", cr("Application","argoproj.io/v1alpha1", sources=[{"repoURL":f"oci://{X}/charts","chart":"shop","targetRevision":"0.4.1"},{"repoURL":"https://git","ref":"v"}]), {"charts/shop":"0.4.1 | 0.4.0"}),
    ("argo oci path source", cr("Application","argoproj.io/v1alpha1", source={"repoURL":f"oci://{X}/charts/shop","targetRevision":"gold","path":"."}), {"charts/shop":"gold | tin"}),
    ("argo history status", obj("Application",{"spec":{"source":{"repoURL":f"{X}/charts","chart":"shop","targetRevision":"0.4.1"}},"status":{"history":[{"revision":"0.4.0","source":{"chart":"shop","repoURL":f"{X}/charts","targetRevision":"0.4.0"}}]}},api="argoproj.io/v1alpha1"), {"charts/shop":"0.4.1 0.4.0 | 0.3.0"}),
    ("appset template chart", cr("ApplicationSet","argoproj.io/v1alpha1", template={"spec":{"source":{"repoURL":f"{X}/charts","chart":"shop","targetRevision":"{{version}}"}}}), {"charts/shop":"0.4.1 0.4.0 |"}),
    ("appset list elements", cr("ApplicationSet","argoproj.io/v1alpha1", generators=[{"list":{"elements":[{"version":"0.4.1"},{"version":"gold"}]}}], template={"spec":{"source":{"repoURL":f"{X}/charts","chart":"shop","targetRevision":"0.4.1"}}}), {"charts/shop":"0.4.1 | 0.4.0"}),
    ("rancher app", cr("App","catalog.cattle.io/v1", chart={"metadata":{"name":"shop","version":"0.4.1"}}), {"charts/shop":"0.4.1 | 0.4.0"}),
    ("rancher clusterrepo", [cr("ClusterRepo","catalog.cattle.io/v1", url=f"oci://{X}/charts"), cr("App","catalog.cattle.io/v1", chart={"metadata":{"name":"shop","version":"0.4.1"}})], {"charts/shop":"0.4.1 | 0.4.0"}),
    ("kapp packageinstall constraints", cr("PackageRepository","packaging.carvel.dev/v1alpha1", fetch={"imgpkgBundle":{"image":f"{X}/pkg/repo","tagSelection":{"semver":{"constraints":">1.0.0"}}}}), {"pkg/repo":"1.0.1 1.0.2 |"}),
    ("kapp App helmChart", cr("App","kappctrl.k14s.io/v1alpha1", fetch=[{"helmChart":{"name":"shop","version":"0.4.1","repository":{"url":f"oci://{X}/charts"}}}]), {"charts/shop":"0.4.1 | 0.4.0"}),
    ("sveltos", cr("ClusterProfile","config.projectsveltos.io/v1beta1", helmCharts=[{"repositoryURL":f"oci://{X}/charts","chartName":"charts/shop","chartVersion":"0.4.1"}]), {"charts/shop":"0.4.1 | 0.4.0"}),
    ("sveltos range", cr("ClusterProfile","config.projectsveltos.io/v1beta1", helmCharts=[{"repositoryURL":f"oci://{X}/charts","chartName":"shop","chartVersion":"~0.4"}]), {"charts/shop":"0.4.1 0.4.0 |"}),
    ("helm addon provider capi", cr("HelmChartProxy","addons.cluster.x-k8s.io/v1alpha1", repoURL=f"oci://{X}/charts", chartName="shop", version="0.4.1", valuesTemplate="image:\n  tag: gold"), {"charts/shop":"0.4.1 | 0.4.0"}),
    ("kluctl", lines("helmChart:",f"  repo: oci://{X}/charts/shop","  chartVersion: gold","  releaseName: shop"), {"charts/shop":"gold | tin"}),
    ("werf dep", lines("dependencies:","- name: shop",f"  repository: oci://{X}/charts","  version: ~0.4.0"), {"charts/shop":"0.4.1 0.4.0 |"}),
    ("glasskube", cr("ClusterPackage","packages.glasskube.dev/v1alpha1", packageInfo={"name":"shop","version":"0.4.1"}), {"charts/shop":"0.4.1 | 0.4.0"}),
    ("flux Kustomization substituteFrom", [cr("Kustomization","kustomize.toolkit.fluxcd.io/v1", images=[{"name":"web","newName":f"{X}/shop/web","newTag":"${tag}"}], postBuild={"substituteFrom":[{"kind":"ConfigMap","name":"vars"}]}), config_map(name="vars", tag="gold")], {"shop/web":"gold tin |"}),
    ("kind version-like numbers", obj("HelmRelease",{"spec":{"chart":{"spec":{"chart":"shop","version":"0.4.1","sourceRef":{"name":"acr"}}},"interval":"5m"}},api="helm.toolkit.fluxcd.io/v2"), {"charts/shop":"0.4.1 | 0.4.0"}),
]  # fmt: skip
WORLDS = [
    world(*row)
    for row in (
        *DEPLOYMENT,
        *OPERATORS,
        *CHARTS,
    )
]


@pytest.mark.parametrize("case", WORLDS, ids=lambda case: case.title)
def test_object_of_this_tool_keeps_its_tag(case: MentionWorld) -> None:
    found = read(case)
    assert {repository: kept(found, repository, *tags) for repository, tags in case.tags.items()} == {
        repository: case.must_stay(repository) for repository in case.tags
    }
