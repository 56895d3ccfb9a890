"""The rows of the truth table of mentions for spellings: how names, tags and what separates them are written."""

from __future__ import annotations

import base64
import json

from tests.helpers.mention_builders import ALL, X, config_map, custom, deployment, env, row


def token_part(content: object) -> str:
    """One part of a JSON Web Token."""
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


T = {"shop/web": ["canary", "old"]}
SPELLINGS = [
    row(f"spelling: {title}", value, {**T, "shop/api": ["canary"]}, {"shop/web": ["canary"]})
    for title, value in {
        "package URL": custom(purl="pkg:docker/shop/web@canary?arch=amd64"),
        "package URL of an artifact": custom(purl=f"pkg:oci/web?repository_url={X}%2Fshop%2Fweb&tag=canary"),
        "capitals": config_map(v=f"{X.upper()}/SHOP/WEB:canary"),
        **{
            f"{title} between name and tag": config_map(v=f"It runs {text} now.")
            for title, text in {
                "em dash": "shop/web \u2014 canary",
                "em dash without blanks": "\u2014shop/web\u2014canary",
                "hyphen": "shop/web - canary",
                "arrow": "shop/web -> canary",
                "arrow sign": "shop/web \u2192 canary",
                "bold": "**shop/web** | **canary**",
                "cells of HTML": "<td>shop/web</td><td>canary</td>",
                "hard blank": "shop/web\u00a0canary",
                "word": "`shop/web` with tag `canary`",
            }.items()
        },
        "columns": config_map(v="IMAGE      PLATFORM   TAG\nshop/web   amd64      canary\nshop/api   amd64      old\n"),
        "columns in quotes": config_map(v='"web","shop/web","12","canary"\n"api","shop/api","13","old"\n'),
        "elements of a list": config_map(v='x=[{"image":"shop/web","tag":"canary"}, {"image":"shop/api","tag":"old"}]'),
        "indexed properties": config_map(v="images[0].name=shop/web\nimages[0].tag=canary\nimages[1].name=shop/api\n"),
        "flags on two lines": config_map(v="args: >-\n  --image shop/web\n  --tag canary\n"),
        "variables of fish": config_map(v="set -gx IMAGE shop/web\nset -gx TAG canary\n"),
        "statements of Jinja": config_map(v="{% set image = 'shop/web' %}\n{% set tag = 'canary' %}\n"),
        "bullets": config_map(v="\u2022 shop/web: canary\n\u2022 shop/api: old\n"),
        "elements of one key in a text": config_map(v="image:\n- name: x\n- repository: shop/web\n- tag: canary\n"),
        "patch of JSON in a text": config_map(
            v="- path: /image/repository\n  value: shop/web\n- path: /image/tag\n  value: canary\n"
        ),
        "subscripts": config_map(v="config['image'] = 'shop/web'\nconfig['tag'] = 'canary'\n"),
        "blocks of YAML": config_map(v="image: |\n  shop/web\ntag: |\n  canary\n"),
        "folded blocks of YAML": config_map(v="tag: >-\n  canary\nimage: >-\n  shop/web\n"),
        "types of YAML": config_map(v="image: !!str shop/web\ntag: !!str canary\n"),
        "italics": config_map(v="It runs _shop/web:canary_ now."),
        "user and password": config_map(v=f"https://ci:x@{X}/v2/shop/web/manifests/canary"),
        "page of a portal": config_map(v="https://portal.example/#view/registries/x/repository/shop%2Fweb/tag/canary"),
    }.items()
] + [
    row(f"spelling: {title}", value, {"shop/web": [stays, goes]}, {"shop/web": [stays]})
    for title, value, stays, goes in (
        ("commit in full", custom(image="shop/web", commit="a1b2c3d" * 5 + "e4f5a"), "sha-a1b2c3d", "sha-d3c2b1a"),
        ("short commit", custom(image="shop/web", commit="a1b2c3d"), "a1b2c3d" * 5 + "e4f5a", "d3c2b1a" * 5 + "e4f5a"),
        ("build behind a plus", custom(image="shop/web", version="v1.28.2+k3s1"), "v1.28.2-k3s1", "v1.27.2-k3s1"),
        ("branch", custom(image="shop/web", branch="feature/login"), "feature-login", "feature-logout"),
        ("ref of git", custom(image="shop/web", gitRef="refs/heads/main"), "main", "old"),
        ("list in one line", config_map(v="- {ref: shop/web, tags: [canary, 'lts']}\n"), "lts", "old"),
        ("folder in a text", config_map(v="hub: $REG/shop\ntag: canary\n"), "canary", "old"),
        ("beginning", custom(image="shop/web", version="1.4.2"), "release-1.4.2", "release-1.4.1"),
    )
]
FAR = [
    row(f"far: {title}", value, {**T, "shop/api": ["canary", "old"]}, {"shop/web": ["canary"]})
    for title, value in {
        "a tag above": custom(version="canary", parts={"front": {"main": {"image": "shop/web"}}}),
        "tags below": custom(image="shop/web", stages={"production": {"blue": {"tag": "canary"}}}),
        "the tag of all charts": custom(
            **{"global": {"image": {"tag": "canary"}}}, web={"image": {"name": "shop/web"}}
        ),
        "elements of one key": custom(
            images=[{"repository": "shop/web"}, {"tag": "canary"}, {"repository": "shop/api"}, {"tag": "x"}]
        ),
        "elements of two": custom(images=[["image", "shop/web"], ["replicas", "3"], ["tag", "canary"]]),
        "a patch": custom(
            patch=[
                {"op": "replace", "path": "/image/repository", "value": "shop/web"},
                {"op": "add", "path": "/image/tag", "value": "canary"},
            ]
        ),
        "the rest of a folder": custom(registry=f"{X}/shop", image="web", tag="canary"),
        "the last line of a block": config_map(
            v="image:\n  repository: shop/web\n" + "  option: value\n" * 9 + "  tag: canary\n"
        ),
        "a variable of its owner": config_map(
            v="WEB_IMAGE=shop/web\nAPI_IMAGE=shop/api\n" + "A=b\n" * 9 + "API_TAG=x\nWEB_TAG=canary\n"
        ),
        "an alias": config_map(v="x: &tag canary\n" + "a: b\n" * 9 + "image: shop/web\ntag: *tag\n"),
        "a merged mapping": config_map(
            v="x: &x\n  tag: canary\n" + "a: b\n" * 9 + "web:\n  <<: *x\n  image: shop/web\n"
        ),
        "the image of a chart": custom(web={"main": {"pod": {"image": {"tag": "canary"}}}}),
        "the image of a chart in a text": config_map(
            v="web:\n" + "  option: value\n" * 9 + "  image:\n    tag: canary\napi:\n  image:\n    tag: x\n"
        ),
        "another file of values": config_map(a="image:\n  repository: shop/web\n", b="image:\n  tag: canary\n"),
        "an overriding parameter": custom(
            values="image:\n  repository: shop/web\n  tag: x\n", parameters=[{"name": "image.tag", "value": "canary"}]
        ),
        "flags of two images": deployment(
            args=["--image", "shop/web", "--tag", "canary", "--image", "shop/db", "--tag", "old"]
        ),
        "settings of two images": deployment(args=["--set=web.image=shop/web", "--set=web.tag=canary"]),
        "commands of two images": config_map(v="run --image shop/web --tag canary && run --image shop/db --tag old"),
        "several tags behind a name": config_map(v="shop/web:x,canary: elsewhere/web"),
        "mappings in parallel": custom(
            images={"front": "shop/web", "back": "x/y"}, tags={"front": "canary", "back": "old"}
        ),
        "a variable called VER": deployment(env=env(WEB_IMG="shop/web", A="b", B="c", C="d", D="e", WEB_VER="canary")),
        "beside the tag of another image": custom(
            image="quay.io/o/s", image_version="old", web_image="shop/web", web_image_version="canary"
        ),
        "beside the tag of another image in a text": config_map(
            v="image: quay.io/o/s\nimage_tag: old\nweb_image: shop/web\nweb_image_tag: canary\n"
        ),
        "a variable of a template": config_map(v='{{- $image := "shop/web" -}}\n{{- $tag := "canary" -}}\n'),
        "a tag alone in another list": custom(
            matrix=[{"list": [{"app": "web", "image": "shop/web"}]}, {"list": [{"env": "old", "tag": "canary"}]}]
        ),
        "a token": config_map(
            v=f"{token_part({'alg': 'none'})}.{token_part({'image': 'shop/web', 'tag': 'canary'})}.c2ln"
        ),
        "octal escapes": config_map(v="shop\\057web\\072canary"),
        "escapes in braces": config_map(v="shop\\u{2f}web\\u{3a}canary"),
    }.items()
] + [
    row(
        "far: a tag and its variant",
        custom(image={"repository": "shop/web", "tag": "canary", "tagSuffix": "-slim", "tagPrefix": "rel"}),
        {"shop/web": ["canary", "canary-slim", "rel-canary", "slim", "old-slim"]},
        {"shop/web": ["canary", "canary-slim", "rel-canary"]},
    ),
    *(
        row(f"far: {title}", value, T, {"shop/web": ALL})
        for title, value in {
            "folder and name in two variables": deployment(env=env(REPO_URL=f"{X}/shop", AGENT_IMAGE="web", MODE="x")),
            "a command in place of the tag": config_map(v="docker pull $REG/shop/web:`cat VERSION`\n"),
            "signs around variables": config_map(v="image: @HUB@/shop/web:@TAG@\n"),
            "defaults of templates": config_map(v='image: {{ default "shop/web" .repo }}:{{ default "x" .tag }}\n'),
            "our host in another line": config_map(
                v=f'defaults:\n  main:\n    repository: "shop/web"\n    suffix: "-ubi"\nimageRegistry: "{X}"\n'
            ),
        }.items()
    ),
]
