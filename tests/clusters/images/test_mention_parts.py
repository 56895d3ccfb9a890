"""Names and tags that are packed, escaped, or written in several parts: each keeps its tag, and no other."""

from __future__ import annotations

import base64
import bz2
import gzip
import json
import lzma
import zlib
from urllib.parse import quote

import pytest

from tests.clusters.images.test_mention_kinds import D, Rows, cr, lines, world
from tests.clusters.images.test_mentions import read
from tests.helpers.cluster_objects import kept
from tests.helpers.mention_builders import X, b64, config_map, custom, deployment, env, obj
from tests.helpers.mention_worlds import MentionWorld

HEX = "7" * 64


def template(
    *containers: dict[str, object], kind: str = "Deployment", api: str = "apps/v1", **spec: object
) -> dict[str, object]:
    inner = {"metadata": {}, "spec": {"containers": list(containers), **spec}}
    return obj(kind, {"spec": {"template": inner}}, api=api)


SW = {"shop/web": "gold | tin"}
PARTS: Rows = [
    ("name beside our registry, no tag", custom(x={"registry": X, "name": "shop/web"}), {"shop/web": "latest | gold"}),
    ("name below our registry, no tag", custom(registry=X, x={"name": "shop/web"}), {"shop/web": "latest | gold"}),
    ("a thing of that name beside our registry", custom(x={"registry": X, "name": "web"}), {"shop/web": "| latest gold"}),
    ("a variable as the tag, a port in the next line", config_map(f=f"image: {X}/shop/web:$TAG\nport: 80"), {"shop/web": "gold tin |"}),
    ("two names in one field, one tag", custom(x={"images": "shop/web,shop/api", "tag": "gold"}), {"shop/web": "gold | tin", "shop/api": "gold | tin"}),
    ("tag behind a name, late in a list", custom(x=["one", "two", "three", "four", "five", "six", f"{X}/shop/web", "gold"]), {"shop/web": "gold | tin"}),
    ("uppercase host, path", config_map(i="CONTOSO.AZURECR.IO/shop/web:gold"), SW),
    ("trailing exclamation", config_map(i=f"pull {X}/shop/web:gold!"), SW),
    ("trailing semicolon", config_map(i=f"IMG={X}/shop/web:gold;echo"), SW),
    ("in parentheses with comma", config_map(i="(shop/web:gold, and others)"), SW),
    ("double url encode", config_map(u="https://x/?i=contoso.azurecr.io%252Fshop%252Fweb%253Agold"), SW),
    ("url encoded in annotation lower hex", obj("Thing",{},annotations={"a":"contoso.azurecr.io%2fshop%2fweb%3agold"}), SW),
    ("html entities", config_map(u="<a>contoso.azurecr.io&#47;shop&#47;web&#58;gold</a> "), SW),
    ("html entities named", config_map(u=f"<image>&quot;{X}/shop/web:gold&quot;</image>"), SW),
    ("json escaped in shell single", lines(f"PATCH='{{\\\"image\\\":\\\"{X}/shop/web:gold\\\"}}'"), SW),
    ("json in json in json", config_map(a=json.dumps({"x":json.dumps({"y":json.dumps({"image":{"repository":"shop/web","tag":"gold"}})})})), SW),
    ("yaml in json in yaml text", lines("payload: |", "  "+json.dumps({"values":"image:\n  repository: shop/web\n  tag: gold\n"})), SW),
    ("yaml in a double-quoted yaml", lines('values: "image:\\n  repository: shop/web\\n  tag: gold\\n"'), SW),
    ("yaml in a double-quoted yaml in secret-like annotation", obj("Thing",{},annotations={"v":'{"values":"image:\\n  repository: shop/web\\n  tag: gold\\n"}'}), SW),
    ("zlib base64", config_map(a=base64.b64encode(zlib.compress(f"image: {X}/shop/web:gold and some other text".encode())).decode()), SW),
    ("bz2 binaryData", obj("ConfigMap",{"binaryData":{"a":base64.b64encode(bz2.compress(f"image: {X}/shop/web:gold".encode())).decode()}},api="v1"), SW),
    ("xz binaryData", obj("ConfigMap",{"binaryData":{"a":base64.b64encode(lzma.compress(f"image: {X}/shop/web:gold".encode())).decode()}},api="v1"), SW),
    ("helm-like double base64 gzip json in configmap", config_map(release=b64(gzip.compress(json.dumps({"manifest":f"spec:\n  image: {X}/shop/web:gold\n"}).encode()))), SW),
    ("base64 data uri", config_map(a="data:text/yaml;base64,"+b64(f"image: {X}/shop/web:gold\nmore: text and text\n")), SW),
    ("data uri ignition percent", config_map(a=json.dumps({"storage":{"files":[{"contents":{"source":"data:,"+quote(f"ExecStart=podman run {X}/shop/web:gold")}}]}})), SW),
    ("ignition gzip", config_map(a=json.dumps({"files":[{"contents":{"compression":"gzip","source":"data:;base64,"+base64.b64encode(gzip.compress(f"podman run {X}/shop/web:gold".encode())).decode()}}]})), SW),
    ("base64 unpadded", config_map(a=b64(f"image: {X}/shop/web:gold").rstrip("=")), SW),
    ("base64 in env value", deployment(env=env(CFG=b64(f"image={X}/shop/web\ntag=gold\n"))), SW),
    ("utf-16 chart", obj("ConfigMap",{"binaryData":{"a":b64(gzip.compress(f"image: {X}/shop/web:gold".encode("utf-16")))}},api="v1"), SW),
    ("imageName + imageTag in different nested", custom(image={"name":"shop/web"}, settings={"deploy":{"imageTag":"gold"}}), {"shop/web":"gold | tin"}),
    ("org/name/tag split three", custom(registry=X, organization="shop", image="web", tag="gold"), SW),
    ("registry url w/ path project", custom(registry=f"https://{X}/shop/", image="web", tag="gold"), SW),
    ("account name instead of host", custom(acr="contoso", repository="shop/web", tag="gold"), SW),
    ("loginServer parameter + path", custom(acrLoginServer=X, appImage="web", appVersion="gold"), SW),
    ("tag first then image with colon tail", custom(tag="gold", image=f"{X}/shop/web:"), SW),
    ("image with trailing slash folder", custom(prefix=f"{X}/shop/", name="web", version="gold"), SW),
    ("list of dicts name/newName/newTag null", custom(images=[{"name":"web","newName":None,"newTag":"gold"}]), SW),
    ("numbers as tags in env pair", deployment(env=[{"name":"DB_IMAGE","value":f"{X}/shop/db"},{"name":"DB_MAJOR","value":"16"}]), {"shop/db":"16 | 15"}),
    ("env in two configmaps envFrom", [config_map(name="one", WORKER_IMAGE=f"{X}/shop/web"), config_map(name="two", WORKER_IMAGE_TAG="gold")], {"shop/web":"gold tin |"}),
    ("env concatenated from env", deployment(env=env(HOST=X, NAME="web", TAG="gold", FULL="$(HOST)/shop/$(NAME):$(TAG)")), SW),
    ("env concatenated path parts", deployment(env=env(REG=X, TEAM="shop", APP="web", VER="gold")), SW),
    ("args --image= and --tag= separately", deployment(args=["--name=web","--image=shop/web","--replicas=3","--cpu=1","--mem=2","--tag=gold"]), SW),
    ("args sh -c with two assignments", deployment(command=["sh","-c",f"IMG={X}/shop/web; TAG=gold; run $IMG:$TAG"]), SW),
    ("args --set-string", deployment(args=["--set-string","image.repository=shop/web,image.tag=gold"]), SW),
    ("args json overrides", deployment(args=["--overrides",json.dumps({"spec":{"containers":[{"image":f"{X}/shop/web:gold"}]}})]), SW),
    ("arg --sidecar-image-tag separated by list", deployment(args=["--sidecar-image",f"{X}/shop/web","--sidecar-image-tag","gold","--other-image","quay.io/a/b","--other-image-tag","tin"]), SW),
    ("init container args", template({"name":"m","image":"busybox:1"}, initContainers=[{"name":"i","image":"busybox:1","args":["pull",f"docker://{X}/shop/web:gold"]}]), SW),
    ("lifecycle hook", template({"name":"m","image":"busybox:1","lifecycle":{"postStart":{"exec":{"command":["sh","-c",f"ctr i pull {X}/shop/web:gold"]}}}}), SW),
    ("probe exec", template({"name":"m","image":"busybox:1","livenessProbe":{"exec":{"command":["skopeo","inspect",f"docker://{X}/shop/web:gold"]}}}), SW),
    ("template annotation json list", obj("Deployment",{"spec":{"template":{"metadata":{"annotations":{"inject/images":json.dumps([{"image":"web","tag":"gold"}])}},"spec":{"containers":[]}}}},api="apps/v1"), SW),
    ("projected downward annotation", obj("Pod",{"spec":{"containers":[{"name":"c","image":"busybox:1"}]}},api="v1",annotations={"job-image":f"{X}/shop/web","job-image-tag":"gold"}), SW),
    ("label with image name, tag annot", obj("Job",{"spec":{}},api="batch/v1",annotations={"image":"web:gold"}), SW),
    ("imageContentSourcePolicy", [cr("ImageDigestMirrorSet","config.openshift.io/v1", imageDigestMirrors=[{"source":"quay.io/org","mirrors":[f"{X}/mirror/org"]}])], {"mirror/org/app":"| x"}),
    ("oci layout with v prefix", lines(f"oras pull oci://{X}/shop/web:vGold", "v: gold"), {"shop/web":"vGold | tin"}),
    ("v prefix added by template plain", custom(image="shop/web", tpl="v{{ .version }}", version="1.8"), {"shop/web":"v1.8 | v1.7"}),
    ("suffix added -alpine", lines("repository: shop/web", "version: 3.19", 'image: "{{repo}}:{{version}}-alpine"'), {"shop/web":"3.19-alpine | 3.18-alpine"}),
    ("semver build metadata", custom(chart="shop", repo=f"oci://{X}/charts", version="1.2.3+sha.0a1b"), {"charts/shop":"1.2.3_sha.0a1b | 1.2.3_sha.0a1c"}),
    ("tag joined from env + sha", lines("image: shop/web", "branch: main", "sha: a1b2c3d"), {"shop/web":"main-a1b2c3d | main-0000000"}),
    ("dots vs dash", lines("image: shop/web", "version: 1.2.3", "rev: r5"), {"shop/web":"1.2.3-r5 | 1.2.2-r5"}),
    ("uppercase tag in env", lines("image: shop/web", "TAG=GOLD"), {"shop/web":"GOLD | gold"}),
    ("date with dashes vs none", lines("image: shop/web", "version: 2024-01-15"), {"shop/web":"2024-01-15 | 2024-01-14"}),
]  # fmt: skip
SPELLINGS: Rows = [
    ("tag ends with dash", custom(image=f"{X}/shop/web:1.2-"), {"shop/web":"1.2- | 1.3-"}),
    ("tag ends with dot", custom(image=f"{X}/shop/web:1.2."), {"shop/web":"1.2. | 1.3"}),
    ("tag begins with underscore", custom(image=f"{X}/shop/web:_x"), {"shop/web":"_x | _y"}),
    ("tag begins with underscore, split", custom(image=f"{X}/shop/web", tag="_x"), {"shop/web":"_x | _y"}),
    ("tag with underscore end split", custom(image=f"{X}/shop/web", tag="x_"), {"shop/web":"x_ | y_"}),
    ("tag v only prefix both", custom(image="shop/web", tag="vv1.2"), {"shop/web":"vv1.2 | v1.2"}),
    ("tag capital V", custom(image="shop/web", tag="V1.2"), {"shop/web":"V1.2 | V1.3"}),
    ("tag 128 long", custom(image="shop/web", tag="a"*128), {"shop/web":"a"*128+" | b"}),
    ("repo with dots and dashes", custom(image=f"{X}/my_app.core/a--b:gold"), {"my_app.core/a--b":"gold | tin"}),
    ("repo ends digits", custom(image=f"{X}/py3.11/x:gold"), {"py3.11/x":"gold | tin"}),
    ("repo single char", custom(image=f"{X}/a:gold"), {"a":"gold | tin"}),
    ("repo numeric", custom(image=f"{X}/1:gold"), {"1":"gold | tin"}),
    ("repo named latest", custom(image=f"{X}/latest:gold"), {"latest":"gold | tin"}),
    ("repo named sha256", custom(image=f"{X}/sha256:gold"), {"sha256":"gold | tin"}),
    ("repo named image, key image", custom(image=f"{X}/image:gold"), {"image":"gold | tin"}),
    ("repo named like host part", custom(image=f"{X}/contoso.azurecr.io:gold"), {"contoso.azurecr.io":"gold | tin"}),
    ("repo named v2", custom(image=f"{X}/v2/web:gold"), {"v2/web":"gold | tin"}),
    ("repo api path manifests", custom(u=f"https://{X}/v2/v2/web/manifests/gold"), {"v2/web":"gold | tin"}),
    ("blob link digest", custom(u=f"https://{X}/v2/shop/web/blobs/sha256:{HEX}"), {"shop/web":"| gold"}),
    ("artifact ref querystring", custom(u=f"https://x?registry={X}&repository=shop/web&tag=gold"), {"shop/web":"gold | tin"}),
    ("acr import cmd", lines("az acr import -n contoso --source docker.io/library/nginx:1.25 --image shop/web:gold"), {"shop/web":"gold | tin"}),
    ("az acr task", lines("az acr build --registry contoso --image shop/web:gold ."), {"shop/web":"gold | tin"}),
    ("skopeo sync yaml", lines(f"{X}:","  images:","    shop/web:","    - gold","    - silver","    shop/api:","    - tin"), {"shop/web":"gold silver | tin","shop/api":"tin | gold"}),
    ("regsync", lines("sync:",f"- source: {X}/shop/web","  target: other/web","  type: repository","  tags:","    allow:","    - 'gold.*'"), {"shop/web":"gold1 gold2 |"}),
    ("imageset oc-mirror", lines("mirror:","  additionalImages:",f"  - name: {X}/shop/web:gold"), {"shop/web":"gold | tin"}),
    ("warm image / kube-fledged", cr("ImageCache","kubefledged.io/v1alpha2", cacheSpec=[{"images":[f"{X}/shop/web:gold",f"{X}/shop/api:tin"]}]), {"shop/web":"gold | tin","shop/api":"tin | gold"}),
    ("openkruise imagepulljob", cr("ImagePullJob","apps.kruise.io/v1alpha1", image=f"{X}/shop/web:gold"), {"shop/web":"gold | tin"}),
    ("openkruise imagelistpulljob", cr("ImageListPullJob","apps.kruise.io/v1beta1", images=[f"{X}/shop/web:gold"]), {"shop/web":"gold | tin"}),
    ("karpenter nodeclass", cr("AKSNodeClass","karpenter.azure.com/v1alpha2", imageFamily="web", imageVersion="1.4.2"), {"shop/web":"1.4.2 | 1.4.1"}),
    ("kube-downscaler annotation", obj("Deployment",{"spec":{}},api="apps/v1",annotations={"previous-image":f"{X}/shop/web:gold"}), {"shop/web":"gold | tin"}),
    ("kubectl change cause", obj("Deployment",{"spec":{}},api="apps/v1",annotations={"kubernetes.io/change-cause":f"kubectl set image deployment/web web={X}/shop/web:gold --record"}), {"shop/web":"gold | tin"}),
    ("rollout rollback json patch", cr("Patch","x.y/v1", jsonPatch=json.dumps([{"op":"replace","path":"/spec/template/spec/containers/0/image","value":f"{X}/shop/web:gold"}])), {"shop/web":"gold | tin"}),
    ("flagger canary metadata", cr("Canary","flagger.app/v1beta1", targetRef={"kind":"Deployment","name":"web"}, analysis={"webhooks":[{"url":"http://flagger-loadtester/","metadata":{"cmd":"hey -z 1m http://web-canary/"}}]}), {"shop/web":"| canary gold"}),
    ("argo rollouts analysis image", cr("ClusterAnalysisTemplate","argoproj.io/v1alpha1", metrics=[{"provider":{"job":{"spec":{"template":{"spec":{"containers":[{"name":"t","image":f"{X}/test/k6:gold"}]}}}}}}]), {"test/k6":"gold | tin"}),
    ("chaos mesh", cr("Schedule","chaos-mesh.org/v1alpha1", podChaos={"action":"pod-kill"}, remoteCluster={}, workflow={"templates":[{"task":{"container":{"image":f"{X}/test/k6:gold"}}}]}), {"test/k6":"gold | tin"}),
    ("testkube executor", cr("Executor","executor.testkube.io/v1", image=f"{X}/test/k6:gold", types=["k6/script"]), {"test/k6":"gold | tin"}),
    ("helm test values with comments", lines("image:","  # -- the repository",f"  repository: {X}/shop/web # do not change","  # -- the tag","  tag: gold # see changelog"), {"shop/web":"gold | tin"}),
    ("quoted number tag", lines("image:","  repository: shop/web",'  tag: "1.10"'), {"shop/web":"1.10 | 1.1"}),
    ("unquoted number tag", custom(image={"repository":"shop/web","tag":1.1}), {"shop/web":"1.1 | 1.2"}),
    ("int tag in env pair", deployment(env=[{"name":"IMG","value":"shop/web"},{"name":"TAG","value":"12345"}]), {"shop/web":"12345 | 1234"}),
    ("exponent tag", custom(image={"repository":"shop/web","tag":"1e10"}), {"shop/web":"1e10 | 1e11"}),
    ("boolean-like tag", custom(image={"repository":"shop/web","tag":"on"}), {"shop/web":"on | off"}),
    ("date tag unquoted yaml", lines("image: shop/web","tag: 2024-01-15"), {"shop/web":"2024-01-15 | 2024-01-14"}),
    ("octal tag", lines("image: shop/web","tag: 0123"), {"shop/web":"0123 | 123"}),
    ("tag null + appVersion", custom(image={"repository":"shop/web","tag":None}, appVersion="gold"), {"shop/web":"gold | tin"}),
    ("tag empty + appVersion label", obj("HelmRelease",{"spec":{"values":{"image":{"repository":f"{X}/shop/web","tag":""}}},"status":{"history":[{"chartName":"web","chartVersion":"1.0.0","appVersion":"gold"}]}},api="helm.toolkit.fluxcd.io/v2"), {"shop/web":"gold tin |"}),
    ("digest in mapping key", custom(digests={f"{X}/shop/web":D}), {"shop/web":"| gold"}),
    ("image id with docker-pullable", custom(imageID=f"docker-pullable://{X}/shop/web@{D}"), {"shop/web":"| gold"}),
    ("space before tag colon", lines("image: shop/web :gold"), {"shop/web":"gold | tin"}),
    ("line continuation", lines("docker pull \\","  shop/web\\",":gold"), {"shop/web":"gold | tin"}),
    ("concat adjacent", lines('image="shop/web"":gold"'), {"shop/web":"gold | tin"}),
    ("shell concat", lines("image=shop/web':'gold"), {"shop/web":"gold | tin"}),
    ("shell concat var", lines("image=$REG'/shop/web:'gold"), {"shop/web":"gold | tin"}),
    ("var in braces then name", lines("image=${REG}shop/web:gold"), {"shop/web":"gold | tin"}),
    ("var without slash", lines("image=${REG_WITH_SLASH}web:gold"), {"shop/web":"gold | tin"}),
    ("$VARname", lines('image="$REG""/shop/web:gold"'), {"shop/web":"gold | tin"}),
    ("two tags in braces expansion", lines("docker pull shop/web:{gold,silver}"), {"shop/web":"gold silver |"}),
    ("backtick cmd", lines("IMG=`echo shop/web:gold`"), {"shop/web":"gold | tin"}),
    ("redirect chars", lines("cat <<<shop/web:gold|sh"), {"shop/web":"gold | tin"}),
    ("ampersand", lines("docker pull shop/web:gold&&docker pull shop/api:tin"), {"shop/web":"gold | tin","shop/api":"tin | gold"}),
    ("emoji", lines("🚀shop/web:gold🚀"), {"shop/web":"gold | tin"}),
    ("zero width space", lines("shop/web\u200b:gold"), {"shop/web":"gold | tin"}),
    ("cyrillic adjacent", lines("образshop/web:goldтег"), {"shop/web":"gold | tin"}),
]  # fmt: skip
TEMPLATES: Rows = [
    ("loop without names", lines(f"docker pull {X}/etl/$svc:nightly"), {"etl/load":"nightly | weekly","other/load":"| nightly"}),
    ("loop without names braces", lines(f"docker pull {X}/etl/${{svc}}:nightly"), {"etl/load":"nightly | weekly","other/load":"| nightly"}),
    ("loop go template", lines(f"image: {X}/etl/{{{{ .svc }}}}:nightly"), {"etl/load":"nightly | weekly","other/load":"| nightly"}),
    ("loop percent", lines(f"'{X}/etl/%s:nightly' % svc"), {"etl/load":"nightly | weekly","other/load":"| nightly"}),
    ("loop fstring", lines(f"f'{X}/etl/{{svc}}:nightly'"), {"etl/load":"nightly | weekly","other/load":"| nightly"}),
    ("var whole path", lines(f"f'{X}/{{svc}}:nightly'"), {"etl/load":"| weekly"}),
    ("prefix of a name var", lines("image: ${REG}/shop/web-${VARIANT}:gold"), {"shop/web-slim":"gold | tin","shop/api":"| gold"}),
    ("prefix of a name concat", lines(f"image = '{X}/shop/job-' + name + ':gold'"), {"shop/job-a":"gold | tin","shop/web":"| gold"}),
    ("prefix of a name env and tag env", deployment(env=env(JOB_PREFIX=f"{X}/shop/job-", JOB_TAG="gold")), {"shop/job-a":"gold | tin","shop/web":"| gold"}),
    ("suffix", lines("image: ${REG}/shop/${APP}-api:gold"), {"shop/pay-api":"gold | tin"}),
]  # fmt: skip
WORLDS = [
    world(*row)
    for row in (
        *PARTS,
        *SPELLINGS,
        *TEMPLATES,
    )
]


@pytest.mark.parametrize("case", WORLDS, ids=lambda case: case.title)
def test_name_in_parts_keeps_its_tag(case: MentionWorld) -> None:
    found = read(case)
    assert {repository: kept(found, repository, *tags) for repository, tags in case.tags.items()} == {
        repository: case.must_stay(repository) for repository in case.tags
    }
