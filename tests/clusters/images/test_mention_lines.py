"""Lines and fields that give the tag of a name in forms of several languages: each keeps its tag, and no other."""

from __future__ import annotations

import json

import pytest

from tests.clusters.images.test_mention_kinds import D, Rows, cr, lines, world
from tests.clusters.images.test_mentions import read
from tests.helpers.cluster_objects import kept
from tests.helpers.mention_builders import X, config_map, custom, deployment, env, obj
from tests.helpers.mention_worlds import MentionWorld

WEB = {"shop/web": "gold | tin"}
LIST = {"shop/web": "gold lead | tin"}
TWO = {"shop/web": "gold | tin", "shop/api": "tin | gold"}
OPEN = {"shop/web": "gold tin |"}
NOTHING = {"shop/web": "| gold tin 1.4.2"}
SAME_LINE = {"shop/web": "gold | old", "shop/api": "tin | old"}
XML: Rows = [
    ("elements in lines", lines("<container>", "  <image>shop/web</image>", "  <pull>true</pull>", "  <version>gold</version>", "</container>"), WEB),
    ("elements behind our host", lines("<container>", f"  <image>{X}/shop/web</image>", "  <version>gold</version>", "</container>"), WEB),
    ("two blocks of elements", lines("<c>", "  <image>shop/web</image>", "  <tag>gold</tag>", "</c>", "<c>", "  <image>shop/api</image>", "  <tag>tin</tag>", "</c>"), TWO),
    ("blocks within a block", lines("<images>", "  <image>", "    <name>shop/web</name>", "    <tag>gold</tag>", "  </image>", "  <image>", "    <name>shop/api</name>", "    <tag>tin</tag>", "  </image>", "</images>"), TWO),
    ("entries with keys", lines('<entry key="web.image">shop/web</entry>', '<entry key="web.tag">gold</entry>', '<entry key="api.image">shop/api</entry>', '<entry key="api.tag">tin</entry>'), TWO),
    ("properties of Spring", lines('<property name="image" value="shop/web"/>', '<property name="tag" value="gold"/>'), WEB),
    ("properties of MSBuild", lines("<PropertyGroup>", "  <ContainerRepository>shop/web</ContainerRepository>", "  <ContainerImageTag>gold</ContainerImageTag>", "</PropertyGroup>"), WEB),
    ("a list of MSBuild", lines("<ContainerRepository>shop/web</ContainerRepository>", "<ContainerImageTags>gold;lead</ContainerImageTags>"), LIST),
    ("a list of Maven", lines("<to>", f"  <image>{X}/shop/web</image>", "  <tags>", "    <tag>gold</tag>", "    <tag>lead</tag>", "  </tags>", "</to>"), LIST),
    ("a property list", lines("<key>image</key>", "<string>shop/web</string>", "<key>tag</key>", "<string>gold</string>"), WEB),
]  # fmt: skip
LANGUAGES: Rows = [
    ("Python with types", lines("image: str = 'shop/web'", "tag: str = 'gold'"), WEB),
    ("a default in a call", lines("TAG = os.environ.get('TAG', 'gold')", "IMAGE = os.getenv('IMAGE', 'shop/web')"), WEB),
    ("Rust", lines('const IMAGE: &str = "shop/web";', 'const CHANNEL: &str = "gold";'), WEB),
    ("PowerShell", lines('$image = "shop/web"', '$tag = "gold"'), WEB),
    ("PowerShell's environment", lines('$env:IMAGE = "shop/web"', '$env:TAG = "gold"'), WEB),
    ("C", lines('#define IMAGE "shop/web"', '#define IMAGE_TAG "gold"'), WEB),
    ("CMake", lines("set(IMAGE shop/web)", "set(IMAGE_TAG gold)"), WEB),
    ("Clojure", lines('{:image "shop/web"', ' :tag "gold"}'), WEB),
    ("Lisp", lines('(image "shop/web")', '(tag "gold")'), WEB),
    ("Dockerfile's variables with blanks", lines("ENV IMAGE shop/web", "ENV IMAGE_TAG gold"), WEB),
    ("properties with blanks", lines("web.image shop/web", "web.tag gold"), WEB),
    ("a shell's defaults", lines(': "${IMAGE:=shop/web}"', ': "${TAG:=gold}"'), WEB),
    ("JSON with comments", lines("{ repository: 'shop/web', // x", "  tag: 'gold' }"), WEB),
    ("Go, one image a line", lines('Image{Repository: "shop/web", Tag: "gold"}', 'Image{Repository: "shop/api", Tag: "tin"}'), TWO),
    ("a name twice in one line", lines("{ images: { web: 'shop/web', api: 'shop/api' }, versions: { web: 'gold', api: 'tin' } }"), SAME_LINE),
    ("Lua joins texts", lines('image = "shop/web" .. ":" .. tag'), OPEN),
    ("Jinja joins texts", lines("image: {{ 'shop/web' ~ ':' ~ tag }}"), OPEN),
]  # fmt: skip
FIELDS: Rows = [
    ("tags in one text", custom(image="shop/web", tags="gold, lead"), LIST),
    ("tags in one line", lines("image: shop/web", "tags: gold, lead"), LIST),
    ("tags in a variable", deployment(env=env(IMAGE="shop/web", TAGS="gold lead")), LIST),
    ("pairs in capitals", custom(env=[{"Name": "IMG", "Value": "shop/web"}, {"Name": "VER", "Value": "gold"}]), WEB),
    ("two lists", custom(images="shop/web,shop/api", tags="gold,tin"), {"shop/web": "gold tin | old", "shop/api": "gold tin | old"}),
    ("imageTags", lines("repository: shop/web", "imageTags: [gold, lead]"), LIST),
    ("comments before the tag", lines("image:", "  repository: shop/web", *["  ## The tag of the image, from the list of releases"] * 9, "  tag: gold"), WEB),
    ("comments behind the tag", lines("image:", "  tag: gold", *["  ## The repository"] * 9, "  repository: shop/web"), WEB),
    ("documents of one text", lines("repository: shop/web", "tag: gold", "---", "repository: shop/api", "tag: tin"), TWO),
    ("a tag of a longer name", lines("repository: shop/web", "targetImageTag: gold"), WEB),
    ("tag beside a digest", custom(image=f"{X}/shop/web@{D}", tag="gold"), WEB),
    ("releases below a name", config_map(v=json.dumps({"shop/web": [{"tag": "gold"}, {"tag": "lead"}]})), LIST),
    ("a tag for all images of a chart", lines("global:", "  image:", "    tag: gold", f"    registry: {X}", "web:", "  image:", "    repository: shop/web"), WEB),
    ("a tag of all images, and a folder", lines("global:", "  image:", f"    registry: {X}/gloo", "    tag: gold", "gateway:", "  deployment:", "    image:", "      repository: envoy"), {"gloo/envoy": "gold | tin"}),
    ("an absolute host name", custom(image="contoso.azurecr.io./shop/web"), {"shop/web": "latest | gold"}),
]  # fmt: skip
KINDS: Rows = [
    ("Gatekeeper's AssignImage", cr("AssignImage", "mutations.gatekeeper.sh/v1alpha1", parameters={"assignDomain": X, "assignPath": "shop/web", "assignTag": ":gold"}), WEB),
    ("Crossplane combines texts", cr("Composition", "apiextensions.crossplane.io/v1", patches=[{"combine": {"string": {"fmt": "%s/shop/web:%s"}}}]), OPEN),
    ("Istio's WasmPlugin", cr("WasmPlugin", "extensions.istio.io/v1alpha1", url=f"oci://{X}/shop/web:gold"), WEB),
    ("KubeVirt's DataVolume", cr("DataVolume", "cdi.kubevirt.io/v1beta1", source={"registry": {"url": f"docker://{X}/shop/web:gold"}}), WEB),
    ("sidecars of a PostgreSQL operator", config_map(sidecar_docker_images="exporter:shop/web:gold,logger:shop/api:tin"), TWO),
    ("results of a Tekton run", obj("TaskRun", {"status": {"results": [{"name": "IMAGE_URL", "value": f"{X}/shop/web"}, {"name": "IMAGE_DIGEST", "value": D}]}}, api="tekton.dev/v1"), {"shop/web": "| gold latest"}),
]  # fmt: skip
DRIVER = {"nvidia/driver": "535.104.05-ubuntu22.04 | 525.60.13-ubuntu22.04"}
OPERATORS: Rows = [
    ("NVIDIA's operator adds the system", cr("ClusterPolicy", "nvidia.com/v1", driver={"repository": f"{X}/nvidia", "image": "driver", "version": "535.104.05"}), DRIVER),
    ("the same, with one field for the image", cr("ClusterPolicy", "nvidia.com/v1", driver={"image": f"{X}/nvidia/driver", "version": "535.104.05"}), DRIVER),
    ("a version that the registry has", custom(image=f"{X}/shop/web", version="1.4.2"), {"shop/web": "1.4.2 | 1.4.2-debug"}),
    ("a channel is no beginning", custom(image=f"{X}/shop/web", tag="main"), {"shop/web": "| main-a1b2c3d"}),
    ("a version is no beginning of a patch", custom(image=f"{X}/shop/web", tag="1.4"), {"shop/web": "| 1.4.2"}),
    ("a version without our host", custom(image="shop/web", tag="1.4.2"), {"shop/web": "| 1.4.2-debug"}),
]  # fmt: skip
NOT: Rows = [
    ("null of YAML", lines("image:", "  repository: shop/web", "  tag: ~"), NOTHING),
    ("null of YAML, before another image", lines("web:", "  repository: ~", "  tag: ~", "api:", "  repository: shop/api", "  tag: gold"), {"shop/web": "| gold tin", "shop/api": "gold | tin"}),
    ("a tag of another image behind comments", lines("- image: shop/web", *["# The next image"] * 9, "- image: shop/api", "  tag: gold"), {"shop/web": "| gold tin", "shop/api": "gold | tin"}),
    ("the name of a container", deployment(args=["--image", "shop/web", "--tag", "gold"]), {"shop/web": "gold | main"}),
    ("a word ten lines away", lines("image: shop/web", *["key: value"] * 9, "stage: gold"), NOTHING),
    ("a tag ten lines away, of another name", lines("image: shop/web", *["key: value"] * 9, "API_TAG: gold"), NOTHING),
    ("a tag ten lines away, in another mapping", lines("web:", "  image: shop/web", *["  key: value"] * 9, "api:", "  tag: gold"), NOTHING),
    ("a tag ten lines away, in another element", lines("- image: shop/web", *["  key: value"] * 9, "- tag: gold", "  image: quay.io/o/s"), NOTHING),
    ("a tag ten lines away, behind another image", lines("image: shop/web", *["key: value"] * 9, "otherImage: quay.io/o/s", "tag: gold"), NOTHING),
    ("a tag ten lines away, in another section", lines("[web]", "image = shop/web", *["key = value"] * 9, "[api]", "tag = gold"), NOTHING),
    ("a version far above a thing of that name", custom(version="gold", services={"front": {"name": "web"}}), NOTHING),
    ("a tag above another image", custom(image="quay.io/o/s", tag="gold", side={"car": {"image": "shop/web"}}), NOTHING),
    ("the branch of an application", cr("Application", "argoproj.io/v1alpha1", source={"targetRevision": "gold", "helm": {"values": {"image": "shop/web"}}}), NOTHING),
    ("a list of fields about a thing of that name", custom(labels=[["app", "web"], ["stage", "x"], ["track", "gold"]]), NOTHING),
    ("names in one list", custom(items=[{"name": "web"}, {"name": "gold"}]), NOTHING),
    ("another repository of the folder", custom(registry=f"{X}/shop", image="web", tag="gold"), {"shop/web": "gold | tin", "shop/api": "| gold tin"}),
    ("our host, and a name in another field", lines(f"registry: {X}", "service: shop/web"), NOTHING),
    ("our host in a text, and a name in a sentence", lines(f"registry: {X}", "image: see shop/web for details"), NOTHING),
    ("a range of a runtime", lines("repository: shop/web", 'requiredVersion: ">= 1.25"', "tag: gold"), WEB),
    ("a default of CUE", lines("image: {", '  repository: "shop/web"', '  tag: *"gold" | string', "}"), WEB),
    ("a tag of another key in parallel", custom(images={"front": "shop/web"}, tags={"back": "gold"}), NOTHING),
    ("a name in parts, with a tag elsewhere", custom(build={"registry": f"{X}/shop", "image": "web"}, image="web:gold"), WEB),
    ("a tag far from two images", custom(a=[{"image": "shop/web"}, {"image": "shop/api"}], b={"c": {"d": {"tag": "gold"}}}), {"shop/web": "| gold tin", "shop/api": "| gold tin"}),
    ("a tag far from an image with a tag", custom(a=[{"image": "shop/web", "tag": "tin"}], b={"c": {"d": {"tag": "gold"}}}), {"shop/web": "tin | gold"}),
    ("variables of two images in one line", lines("WEB=shop/web; WEB_TAG=gold; API=shop/api; API_TAG=tin; run"), TWO),
    ("blocks that begin with do", lines("docker_image 'shop/web' do", "  tag 'gold'", "end", "docker_image 'shop/api' do", "  tag 'tin'", "end"), TWO),
    ("blocks of one line", lines('image { repository: "shop/web" tag: "gold" }', 'image { repository: "shop/api" tag: "tin" }'), TWO),
    ("a list in bold", lines("- **shop/web**: `gold`", "- **shop/api**: `tin`"), TWO),
    ("a tree by indentation", lines("shop/web", "  gold", "shop/api", "  tin"), TWO),
    ("user of a host", lines("ssh web@gold uptime"), NOTHING),
    ("a tag below a thing of that name", custom(web={"service": {"monitor": {"tag": "gold"}}}), NOTHING),
    ("a setting behind a tag", lines("--set image=shop/web:lead,gold=1,tin.x=2"), {"shop/web": "lead | gold tin"}),
    ("tags of a build, below its name", lines('target "web" {', '  tags = ["${REG}/shop/web:gold", "${REG}/shop/web:lead"]', "}"), LIST),
    ("commit of another image", custom(images=[f"{X}/shop/web:{'a1b2c3d' * 5}e4f5a", f"{X}/shop/api:1.0.0"]), {"shop/api": "1.0.0 | a1b2c3d sha-a1b2c3d"}),
    ("words of prose", lines("The web service.", "latest tag gold", "stage gold"), NOTHING),
    ("a program without a tag", lines("def web(tag):", "    print('gold', tag)"), NOTHING),
    ("tags of another image", lines("images:", "- name: shop/web", "  tag: lead", "- name: shop/api", "  tags: gold, tin"), {"shop/web": "lead | gold tin", "shop/api": "gold tin | lead"}),
    ("an image with another name", lines("image:", "  repository: shop/web", "  tag: gold", "side:", "  image:", "    name: quay.io/o/s", "    tag: tin"), WEB),
]  # fmt: skip
WORLDS = [world(*row) for row in (*XML, *LANGUAGES, *FIELDS, *KINDS, *OPERATORS, *NOT)]


@pytest.mark.parametrize("case", WORLDS, ids=lambda case: case.title)
def test_line_or_field_keeps_its_tag(case: MentionWorld) -> None:
    found = read(case)
    assert {repository: kept(found, repository, *tags) for repository, tags in case.tags.items()} == {
        repository: case.must_stay(repository) for repository in case.tags
    }
