"""The texts in which images are named: settings, scripts, templates, code, packed texts. Each keeps its tag, and no other."""

from __future__ import annotations

import base64
import gzip
import json

import pytest

from tests.clusters.images.test_mention_kinds import D, Rows, cr, job, lines, world
from tests.clusters.images.test_mentions import read
from tests.helpers.cluster_objects import kept
from tests.helpers.mention_worlds import MentionWorld, X, b64, chart_archive, config_map, custom, deployment, env, obj

HEX = "7" * 64
SETTINGS: Rows = [
    ("GitLab runner", lines("[[runners]]", "  [runners.kubernetes]", f'    helper_image = "{X}/ci/helper:stable"', f'    image = "{X}/ci/base:night"'), {"ci/helper": "stable | night", "ci/base": "night | stable"}),
    ("GitLab runner, flavour and version", lines("[runners.kubernetes]", f'  helper_image = "{X}/ci/helper:x86_64-v16.6.0"'), {"ci/helper": "x86_64-v16.6.0 | x86_64-v16.5.0"}),
    ("Jenkins configuration as code", lines("jenkins:", "  clouds:", "  - kubernetes:", "      templates:", "      - containers:", "        - name: jnlp", f"          image: {X}/ci/inbound:jdk17"), {"ci/inbound": "jdk17 | jdk11"}),
    ("Jenkins pod template as XML", lines("<containers>", f"  <image>{X}/ci/inbound:stable</image>", "</containers>"), {"ci/inbound": "stable | edge"}),
    ("Airflow's split keys", lines("[kubernetes_executor]", f"worker_container_repository = {X}/data/airflow", "worker_container_tag = stable", "namespace = edge"), {"data/airflow": "stable | edge"}),
    ("Airflow's split variables", deployment(env=env(AIRFLOW__KUBERNETES__WORKER_CONTAINER_TAG="stable", AIRFLOW__KUBERNETES__WORKER_CONTAINER_REPOSITORY=f"{X}/data/airflow")), {"data/airflow": "stable | edge"}),
    ("Airflow pod template", config_map(**{"pod_template.yaml": f"apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: base\n    image: {X}/data/airflow:stable\n"}), {"data/airflow": "stable | edge"}),
    ("Airflow operator in Python", lines("KubernetesPodOperator(", "    task_id='x',", f"    image='{X}/data/job:stable',", ")"), {"data/job": "stable | edge"}),
    ("Dagster in an environment variable", deployment(env=env(DAGSTER_K8S_JOB_CONFIG=json.dumps({"job_image": f"{X}/data/dagster:stable"}))), {"data/dagster": "stable | edge"}),
    ("Prefect by parts in JSON", deployment(env=env(PREFECT_JOB=json.dumps({"variables": {"image": f"{X}/data/flows", "tag": "stable"}}))), {"data/flows": "stable | edge"}),
    ("JupyterHub profiles", lines("c.KubeSpawner.profile_list = [", f"  {{'display_name': 'A', 'kubespawner_override': {{'image': '{X}/hub/minimal:stable'}}}},", f"  {{'display_name': 'B', 'kubespawner_override': {{'image': '{X}/hub/gpu:night'}}}},", "]"), {"hub/minimal": "stable | night", "hub/gpu": "night | stable"}),
    ("JupyterHub values", config_map(values=json.dumps({"singleuser": {"image": {"name": f"{X}/hub/minimal", "tag": "stable", "pullPolicy": "Always"}}})), {"hub/minimal": "stable | edge"}),
    ("docker-compose", lines("services:", "  web:", f"    image: {X}/shop/web:stable", "  db:", f"    image: '{X}/shop/db:night'"), {"shop/web": "stable | night", "shop/db": "night | stable"}),
    ("docker-compose with a default", lines("services:", "  web:", f"    image: {X}/shop/web:${{TAG:-stable}}"), {"shop/web": "stable edge |"}),
    ("env file", lines(f"WEB_IMAGE={X}/shop/web", "WEB_TAG=stable", f"API_IMAGE={X}/shop/api", "API_TAG=night"), {"shop/web": "stable | night", "shop/api": "night | stable"}),
    ("env file with export", lines(f'export IMAGE="{X}/shop/web"', 'export TAG="stable"'), {"shop/web": "stable | edge"}),
    ("env file, registry apart", lines(f"REGISTRY={X}", "IMAGE=shop/web", "VERSION=stable"), {"shop/web": "stable | edge"}),
    ("properties", lines(f"worker.image.name={X}/shop/worker", "worker.image.version=stable"), {"shop/worker": "stable | edge"}),
    ("properties with a colon", lines(f"worker.image: {X}/shop/worker", "worker.tag: stable"), {"shop/worker": "stable | edge"}),
    ("INI", lines("[worker]", f"image = {X}/shop/worker", "tag = stable ; night"), {"shop/worker": "stable | edge"}),
    ("TOML table", lines("[worker.image]", f'repository = "{X}/shop/worker"', 'tag = "stable"'), {"shop/worker": "stable | edge"}),
    ("TOML inline table", lines(f'worker = {{ image = "{X}/shop/worker", tag = "stable" }}'), {"shop/worker": "stable | edge"}),
    ("Terraform module", lines('module "web" {', f'  image_repository = "{X}/shop/web"', '  image_tag        = "stable"', "  replicas         = 3", "}"), {"shop/web": "stable | edge"}),
    ("Terraform variable", lines('variable "web_image" {', f'  default = "{X}/shop/web:stable"', "}"), {"shop/web": "stable | edge"}),
    ("Terraform variables as JSON", config_map(**{"terraform.tfvars.json": json.dumps({"web_repository": "shop/web", "web_tag": "stable"})}), {"shop/web": "stable | edge"}),
    ("Terraform locals", lines("locals {", '  images = { web = "stable", api = "night" }', "}"), {"shop/web": "stable | night", "shop/api": "night | stable"}),
    ("Nomad job", lines('task "web" {', "  config {", f'    image = "{X}/shop/web:stable"', "  }", "}"), {"shop/web": "stable | edge"}),
    ("Bicep", lines(f"param image string = '{X}/shop/web:stable'"), {"shop/web": "stable | edge"}),
    ("Pulumi stack", lines("config:", f"  shop:image: {X}/shop/web", "  shop:tag: stable"), {"shop/web": "stable | edge"}),
    ("Ansible variables", lines(f'web_image: "{X}/shop/web"', 'web_version: "stable"'), {"shop/web": "stable | edge"}),
    ("Skopeo sync list", lines(f"{X}:", "  images:", "    shop/web:", "    - stable", "    - night"), {"shop/web": "stable night | edge"}),
    ("list with one image a line", lines(f"{X}/shop/web:stable", f"{X}/shop/api:night"), {"shop/web": "stable | night", "shop/api": "night | stable"}),
    ("table with columns", lines("NAME                REPOSITORY   TAG", f"web   {X}/shop/web   stable"), {"shop/web": "stable | edge"}),
    ("CSV", lines("service,image,tag", f"web,{X}/shop/web,stable", f"api,{X}/shop/api,night"), {"shop/web": "stable | night", "shop/api": "night | stable"}),
    ("map of versions", custom(versions={"web": "stable", "api": "night"}), {"shop/web": "stable | night", "shop/api": "night | stable"}),
    ("map of numbers", custom(versions={"web": 41, "api": 42}), {"shop/web": "41 | 42", "shop/api": "42 | 41"}),
    ("list of names and versions", custom(components=[{"name": "web", "version": "stable"}, {"name": "api", "version": "night"}]), {"shop/web": "stable | night", "shop/api": "night | stable"}),
    ("wrapped values", custom(parameters={"repository": {"value": "shop/web"}, "tag": {"value": "stable"}}), {"shop/web": "stable | edge"}),
    ("defaults of a JSON schema", config_map(schema=json.dumps({"properties": {"image": {"default": "shop/web"}, "tag": {"default": "stable"}}})), {"shop/web": "stable | edge"}),
    ("a list of wrapped parameters", custom(parameters=[{"key": "image", "value": "shop/web"}, {"key": "tag", "value": "stable"}]), {"shop/web": "stable | edge"}),
    ("four split fields", custom(image={"registry": X, "namespace": "shop", "name": "web", "tag": "stable"}), {"shop/web": "stable | edge"}),
    ("path split in two fields", custom(image={"path": f"{X}/shop", "name": "web", "tag": "stable"}), {"shop/web": "stable | edge"}),
    ("monorepo path in part", custom(image="backend/app", tag="stable"), {"team/backend/app": "stable | edge"}),
    ("GitHub workflow in a text", lines("jobs:", "  test:", f"    container: {X}/ci/base:stable", "    services:", "      db:", f"        image: {X}/ci/db:night"), {"ci/base": "stable | night", "ci/db": "night | stable"}),
    ("Azure Pipelines container resource", lines("resources:", "  containers:", "  - container: base", "    endpoint: acr", "    image: ci/base:stable"), {"ci/base": "stable | edge"}),
    ("Drone pipeline", lines("steps:", "- name: publish", "  image: plugins/docker", "  settings:", f"    repo: {X}/shop/web", "    tags: [stable, night]"), {"shop/web": "stable night | edge"}),
    ("Concourse resource", lines("- name: base", "  type: registry-image", f"  source: {{repository: {X}/ci/base, tag: stable}}"), {"ci/base": "stable | edge"}),
    ("devcontainer with comments", lines("{", "  // the base", f'  "image": "{X}/ci/base:stable",', "}"), {"ci/base": "stable | edge"}),
    ("Grafana dashboard variable", config_map(dashboard=json.dumps({"templating": {"list": [{"name": "img", "current": {"value": f"{X}/shop/web:stable"}}]}})), {"shop/web": "stable | edge"}),
]  # fmt: skip
CODE: Rows = [
    ("shell variables", lines(f"REPO={X}/shop/web", "TAG=stable", "docker pull $REPO:$TAG"), {"shop/web": "stable | edge"}),
    ("shell variables with braces", lines("IMAGE=shop/web", "TAG=stable", f'kubectl run x --image="{X}/${{IMAGE}}:${{TAG}}"'), {"shop/web": "stable | edge"}),
    ("shell default of a tag", lines(f'docker run "{X}/shop/web:${{TAG:-stable}}"'), {"shop/web": "stable edge |"}),
    ("shell default of an image", lines(f"IMAGE=${{IMAGE:-{X}/shop/web:stable}}"), {"shop/web": "stable | edge"}),
    ("shell assignment operator", lines(f': "${{IMAGE:={X}/shop/web:stable}}"'), {"shop/web": "stable | edge"}),
    ("shell array", lines("images=(", f'  "{X}/shop/web:stable"', f'  "{X}/shop/api:night"', ")"), {"shop/web": "stable | night", "shop/api": "night | stable"}),
    ("shell loop over names", lines("for name in web api; do", f"  docker pull {X}/shop/$name:stable", "done"), {"shop/web": "stable | edge", "shop/api": "stable | edge"}),
    ("shell continuation lines", lines("helm upgrade shop ./chart \\", f"  --set image.repository={X}/shop/web \\", "  --set image.tag=stable \\", "  --wait"), {"shop/web": "stable | edge"}),
    ("helm --set with commas", job(args=["helm", "upgrade", "--set", f"image.repository={X}/shop/web,image.tag=stable,replicas=3"]), {"shop/web": "stable | edge 3"}),
    ("kubectl set image", job(command=["sh", "-c", f"kubectl set image deploy/web web={X}/shop/web:stable"]), {"shop/web": "stable | edge"}),
    ("az acr import", job(command=["sh", "-c", "az acr import --name contoso --source mcr/x:1 --image shop/web:stable"]), {"shop/web": "stable | edge"}),
    ("az acr repository show", job(command=["az", "acr", "repository", "show", "-n", "contoso", "--image", "shop/web:stable"]), {"shop/web": "stable | edge"}),
    ("crane copy", job(args=["cp", f"{X}/shop/web:stable", "elsewhere.example/web:stable"]), {"shop/web": "stable | edge"}),
    ("flags with equals", deployment(args=[f"--runner-image={X}/ci/runner", "--runner-tag=stable", "--port=80"]), {"ci/runner": "stable | edge 80"}),
    ("flags apart", deployment(args=["--runner-image", f"{X}/ci/runner", "--runner-tag", "stable"]), {"ci/runner": "stable | edge"}),
    ("one string of flags", deployment(command=["sh", "-c", f"exec run --runner-image {X}/ci/runner --runner-tag stable"]), {"ci/runner": "stable | edge"}),
    ("Go template, tag by parts", lines('{{- $tag := "stable" }}', f"image: {X}/shop/web:{{{{ $tag }}}}"), {"shop/web": "stable edge |"}),
    ("Go template with a default", lines(f'image: "{X}/shop/web:{{{{ .Values.tag | default "stable" }}}}"'), {"shop/web": "stable edge |"}),
    ("Go template with printf", lines(f'image: {{{{ printf "%s/%s:%s" "{X}" "shop/web" "stable" }}}}'), {"shop/web": "stable | edge"}),
    ("Jinja", lines("image: {{ registry }}/shop/web:{{ tag }}"), {"shop/web": "stable edge |"}),
    ("Jinja default", lines(f"image: {{{{ image | default('{X}/shop/web:stable') }}}}"), {"shop/web": "stable | edge"}),
    ("Python f-string of a tag", lines(f'image = f"{X}/shop/web:{{tag}}"'), {"shop/web": "stable edge |"}),
    ("Python f-string of a repository", lines('repo = "shop/web"', 'tag = "stable"', f'image = f"{X}/{{repo}}:{{tag}}"'), {"shop/web": "stable | edge"}),
    ("Python percent", lines(f"image = '{X}/shop/web:%s' % tag"), {"shop/web": "stable edge |"}),
    ("Python percent with a tuple", lines(f"image = '%s/%s:%s' % ('{X}', 'shop/web', 'stable')"), {"shop/web": "stable | edge"}),
    ("Python format", lines("image = '{}/shop/web:{}'.format(registry, tag)"), {"shop/web": "stable edge |"}),
    ("Python format with values", lines("image = '{}/{}:{}'.format(registry, 'shop/web', 'stable')"), {"shop/web": "stable | edge"}),
    ("Python join", lines(f"image = ':'.join(['{X}/shop/web', 'stable'])"), {"shop/web": "stable | edge"}),
    ("Python dictionary", lines("IMAGES = {", "    'web': 'stable',", "    'api': 'night',", "}"), {"shop/web": "stable | night", "shop/api": "night | stable"}),
    ("Python keyword arguments", lines("V1Container(name='x', image=f'{REGISTRY}/shop/web:stable')"), {"shop/web": "stable | edge"}),
    ("JavaScript template", lines(f"const image = `{X}/shop/web:${{tag}}`;"), {"shop/web": "stable edge |"}),
    ("JavaScript concatenation", lines("const image = registry + '/shop/web:' + 'stable';"), {"shop/web": "stable edge |"}),
    ("Groovy", lines('def image = docker.image("${REGISTRY}/shop/web:stable")'), {"shop/web": "stable | edge"}),
    ("Groovy concatenation of a variable", lines(f"def image = '{X}/shop/web:' + env.TAG"), {"shop/web": "stable edge |"}),
    ("Lua", lines(f'hs.image = "{X}/shop/web:stable"'), {"shop/web": "stable | edge"}),
    ("Rego", lines(f'default image := "{X}/shop/web:stable"'), {"shop/web": "stable | edge"}),
    ("CUE", lines("image: {", f'  repository: "{X}/shop/web"', '  tag: "stable"', "}"), {"shop/web": "stable | edge"}),
    ("Jsonnet", lines(f"local image = '{X}/shop/web:' + tag;"), {"shop/web": "stable edge |"}),
    ("Starlark", lines('oci_pull(name = "base", image = "shop/web", tag = "stable")'), {"shop/web": "stable | edge"}),
    ("Dockerfile", lines(f"FROM {X}/shop/base:stable AS build", f"COPY --from={X}/shop/tools:night /a /b"), {"shop/base": "stable | night", "shop/tools": "night | stable"}),
    ("Dockerfile with an argument", lines("ARG TAG=stable", f"FROM {X}/shop/base:$TAG"), {"shop/base": "stable edge |"}),
    ("Makefile", lines(f"IMAGE := {X}/shop/web", "TAG ?= stable"), {"shop/web": "stable | edge"}),
    ("Skaffold", lines("build:", "  artifacts:", f"  - image: {X}/shop/web", "  tagPolicy:", "    envTemplate:", '      template: "stable"'), {"shop/web": "stable | edge"}),
]  # fmt: skip
PACKED: Rows = [
    (title, value, {"shop/web": "stable | edge"})
    for title, value in {
        "last applied configuration": deployment(meta={"annotations": {"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"spec": {"containers": [{"image": f"{X}/shop/web:stable"}]}})}}),
        "JSON by parts in an annotation": deployment(meta={"annotations": {"sidecar": json.dumps({"image": {"repository": "shop/web", "tag": "stable"}})}}),
        "JSON with escaped full stops": config_map(a='{"image":"contoso\\u002eazurecr\\u002eio\\u002fshop\\u002fweb:stable"}'),
        "JSON in a list of lines": lines('{"level":"info","image":"shop/web:stable"}', '{"level":"info"}'),
        "URL with escaped slashes": config_map(u=f"https://ci.example/run?image={X}%2Fshop%2Fweb%3Astable&x=1"),
        "URL with parameters": config_map(u="https://ci.example/run?repository=shop/web&tag=stable"),
        "URL with escaped parameters": config_map(u="https://ci.example/run?repository=shop%2Fweb&tag=stable"),
        "base64 of a short reference": config_map(a=b64("shop/web:stable")),
        "base64 of YAML by parts": config_map(a=b64(f"image:\n  repository: {X}/shop/web\n  tag: stable\n")),
        "base64 with line breaks": config_map(a=base64.encodebytes(f"image: {X}/shop/web:stable # and a longer text here\n".encode()).decode()),
        "base64 in YAML with line breaks": config_map(a="data: |\n" + "".join(f"  {part}\n" for part in base64.encodebytes(f"image: {X}/shop/web:stable # {'long text ' * 9}\n".encode()).decode().split())),
        "base64 of URLs": config_map(a=base64.urlsafe_b64encode(f"image: {X}/shop/web:stable ??>>~~\n".encode()).decode()),
        "base64 of gzip in JSON": config_map(a=json.dumps({"payload": b64(gzip.compress(f"{X}/shop/web:stable".encode()))})),
        "cloud-init": config_map(a=json.dumps({"customData": b64(f"#cloud-config\nruncmd:\n- docker run {X}/shop/web:stable\n")})),
        "UTF-16 with a mark": obj("ConfigMap", {"binaryData": {"a": b64(f"image: {X}/shop/web:stable\n".encode("utf-16"))}}, api="v1"),
        "UTF-16, high byte first": obj("ConfigMap", {"binaryData": {"a": b64(f"image: {X}/shop/web:stable\n".encode("utf-16-be"))}}, api="v1"),
        "UTF-8 with a mark": obj("ConfigMap", {"binaryData": {"a": b64(f"\ufeffimage: {X}/shop/web:stable\n".encode())}}, api="v1"),
        "gzip in binaryData": obj("ConfigMap", {"binaryData": {"a.gz": b64(gzip.compress(f"image: {X}/shop/web:stable\n".encode()))}}, api="v1"),
        "chart archive in a custom resource": custom(chart=chart_archive(f"image: {X}/shop/web:stable\n")),
        "bytes before a reference": obj("ConfigMap", {"binaryData": {"a": b64(b"\x00\x12\x1d" + f"{X}/shop/web:stable".encode() + b"\x00\xff")}}, api="v1"),
        "carriage returns": config_map(a=f"image:\r\n  repository: {X}/shop/web\r\n  tag: stable\r\n"),
        "non-breaking blanks": config_map(a=f"image:\u00a0{X}/shop/web:stable\u00a0"),
        "Chinese text": config_map(a=f"镜像：{X}/shop/web:stable，请勿删除"),
        "Markdown": config_map(a=f"Run `{X}/shop/web:stable` and *wait*."),
        "brackets": config_map(a=f"({X}/shop/web:stable)"),
        "YAML flow mapping": lines(f"image: {{repository: {X}/shop/web, tag: stable}}"),
        "YAML anchors": lines(f"x: &image {X}/shop/web:stable", "y: *image"),
        "YAML in YAML": lines("manifest: |", "  spec:", "    containers:", f"    - image: {X}/shop/web:stable"),
        "YAML folded text": lines("image: >-", f"  {X}/shop/web:stable"),
        "tag beside a digest": custom(image=f"{X}/shop/web:stable@{D}"),
        "scheme of Singularity": custom(image="docker://shop/web:stable"),
        "scheme of oras": custom(image=f"oras://{X}/shop/web:stable"),
        "containerd's list": config_map(a=f"k8s.io {X}/shop/web:stable application/vnd.oci sha256:{HEX} 3.1MiB"),
        "imageID of a node": custom(images=[{"names": [f"{X}/shop/web:stable"], "sizeBytes": 3}]),
        "log line of a pod": custom(message=f'Back-off pulling image "{X}/shop/web:stable"'),
        "data source of a machine": cr("DataVolume", "cdi.kubevirt.io/v1beta1", source={"registry": {"url": f"docker://{X}/shop/web:stable"}}),
        "container disk": cr("VirtualMachine", "kubevirt.io/v1", template={"spec": {"volumes": [{"containerDisk": {"image": f"{X}/shop/web:stable"}}]}}),
        "wasm plug-in": cr("WasmPlugin", "extensions.istio.io/v1alpha1", url=f"oci://{X}/shop/web:stable"),
        "Gateway extension": cr("EnvoyExtensionPolicy", "gateway.envoyproxy.io/v1alpha1", wasm=[{"code": {"type": "Image", "image": {"url": f"{X}/shop/web:stable"}}}]),
        "GitHub runners": cr("RunnerDeployment", "actions.summerwind.dev/v1alpha1", template={"spec": {"image": f"{X}/shop/web:stable"}}),
        "Kaniko destination": job(args=[f"--destination={X}/shop/web:stable", "--context=."]),
        "template of Tekton triggers": cr("TriggerTemplate", "triggers.tekton.dev/v1beta1", resourcetemplates=[{"spec": {"params": [{"name": "image", "value": "shop/web:stable"}]}}]),
        "Shipwright output": cr("Build", "shipwright.io/v1beta1", output={"image": f"{X}/shop/web:stable"}),
        "kpack builder": cr("Builder", "kpack.io/v1alpha2", tag=f"{X}/shop/web:stable"),
    }.items()
]  # fmt: skip
WORLDS = [world(*row) for row in (*SETTINGS, *CODE, *PACKED)]


@pytest.mark.parametrize("case", WORLDS, ids=lambda case: case.title)
def test_text_of_this_kind_keeps_its_tag(case: MentionWorld) -> None:
    found = read(case)
    assert {repository: kept(found, repository, *tags) for repository, tags in case.tags.items()} == {
        repository: case.must_stay(repository) for repository in case.tags
    }
