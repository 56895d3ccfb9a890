"""
Damaged pages of API servers, Helm releases and kubeconfigs: read or rejected, without traceback.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.clusters.api_server.client import ApiServer
from acr_cleanup.clusters.api_server.discovery import CONFIG_MAP
from acr_cleanup.clusters.api_server.kubeconfig import ConnectionOptions, api_server, server_of
from acr_cleanup.clusters.api_server.kubeconfig_file import parse_kubeconfig
from acr_cleanup.clusters.api_server.pages import MalformedPage, ObjectReader, has_helm_objects, open_page
from acr_cleanup.clusters.images.pod_specs import KINDS, Findings, Kind, image_uses
from acr_cleanup.clusters.images.yaml_tree import NotPlain, documents_of
from acr_cleanup.emulator.kubernetes.objects import helm_release
from tests.clusters.images.test_helm_history import HOST, findings, manifest, plain, used, with_json, with_raw
from tests.helpers.cluster_objects import NAMES, capture_of, captured, custom
from tests.helpers.damaged_documents import as_json, bounded_time, damaged, damaged_bytes, fuzz_test, texts

pytestmark = pytest.mark.untraced


PAGES: dict[str, Kind] = {
    **{f"{capture_of(kind)}.limit5.p001.json": kind for kind in KINDS if kind.name != "Pod"},
    "v1_configmaps.limit5.p002.json": CONFIG_MAP,
    "argoproj.io_v1alpha1_rollouts.json": custom(version="v1alpha1"),
}


@cache
def page(name: str) -> Any:
    return json.loads(captured(f"list/{name}"))


def read_page(body: bytes, kind: Kind) -> tuple[Findings, Findings] | None:
    """
    The findings of the page reader and of decoding each object; None if the page is malformed.
    """
    with bounded_time():
        try:
            opened = open_page(body, kind)
            has_helm_objects(body, opened.items)
            reader = ObjectReader(kind, "prod", NAMES)
            for item in opened.items:
                reader.add(item)
        except MalformedPage as torn:
            assert str(torn).isprintable()
            return None
        single = Findings()
        for item in opened.items:
            try:
                obj = msgspec.json.decode(item)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                # The reader did not decode it, since our registry does not occur in it.
                continue
            single.add(image_uses(obj, kind, "prod", NAMES))
        return reader.findings, single


@fuzz_test
@given(st.data())
def test_damaged_page_is_read_like_its_single_objects(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(PAGES)))
    read = read_page(as_json(data.draw(damaged(page(name)))), PAGES[name])
    if read is not None:
        fast, single = read
        assert fast.uses.keys() == single.uses.keys()
        assert fast.blockers.keys() == single.blockers.keys()
        for blocker in fast.blockers:
            assert blocker.seen.isprintable()


@fuzz_test
@given(st.data())
def test_page_with_damaged_bytes_is_read_or_malformed(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(PAGES)))
    read_page(data.draw(damaged_bytes(as_json(page(name)))), PAGES[name])


# -- Helm ----------------------------------------------------------------------------------------

RELEASE: dict[str, Any] = {
    **plain(manifest=manifest(f"{HOST}/shop/web:1", f"{HOST}/shop/api:2")),
    "hooks": [{"name": "test", "manifest": manifest(f"{HOST}/shop/test:3")}],
    "config": {"image": {"repository": f"{HOST}/shop/web", "tag": "4"}, "list": [1, None, {"a": "b"}]},
    "version": 3,
}
SECRET = helm_release("shop", "web", 3, manifest(f"{HOST}/shop/web:1"), status="superseded")


@fuzz_test
@given(damaged(RELEASE))
def test_damaged_release_is_read_or_blocks(tree: Any) -> None:
    with bounded_time():
        release = findings(with_json(tree))
    assert release.uses or release.mentions or release.blockers or "contoso" not in json.dumps(tree).lower()
    assert all(blocker.seen.isprintable() for blocker in release.blockers)


@fuzz_test
@given(damaged(SECRET))
def test_damaged_secret_is_read_or_ignored(tree: Any) -> None:
    with bounded_time():
        if isinstance(tree, dict):
            release = findings(tree)
            assert all(blocker.seen.isprintable() for blocker in release.blockers)


@fuzz_test
@given(damaged_bytes(gzip.compress(as_json(RELEASE), mtime=0)), st.integers(0, 3))
def test_release_with_damaged_bytes_blocks_or_is_unchanged(packed: bytes, wrapped: int) -> None:
    undamaged = used(findings(with_json(RELEASE)))
    for _ in range(wrapped % 2):
        packed = gzip.compress(packed)
    release = findings(with_raw(packed))
    assert release.blockers or used(release) == undamaged


@fuzz_test
@given(
    st.lists(
        texts
        | st.sampled_from(
            ["a: ", "- ", "&x ", "*x", "<<: ", "{", "]", "? ", "| ", ">\n ", "\n", f"{HOST}/a:1", "---\n"]
        ),
        max_size=20,
    )
)
def test_any_yaml_is_parsed_or_rejected(pieces: list[str]) -> None:
    with bounded_time():
        try:
            documents = documents_of("".join(pieces))
        except NotPlain:
            return
        json.dumps(documents)
    assert base64.b64encode(repr(documents).encode("utf-8", "backslashreplace"))


# -- kubeconfigs ---------------------------------------------------------------------------------

KUBECONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "prod",
    "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u"}}],
    "clusters": [
        {
            "name": "c",
            "cluster": {"server": "https://api.example:443", "tls-server-name": "x", "proxy-url": "http://p:1"},
        }
    ],
    "users": [
        {
            "name": "u",
            "user": {
                "exec": {"command": "kubelogin", "args": ["get-token", "--server-id", "1"], "env": None},
                "auth-provider": {"name": "azure", "config": {"apiserver-id": "1"}},
                "token": "secret",
                "tokenFile": "nowhere",
            },
        }
    ],
}


async def issue_token(scope: str) -> str:
    return f"token-for-{scope}"


@fuzz_test
@given(damaged(KUBECONFIG), st.booleans())
def test_damaged_kubeconfig_is_read_or_rejected(tree: Any, is_json: bool) -> None:
    try:
        content = (
            as_json(tree) if is_json else yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")
        )
    except (RecursionError, yaml.YAMLError):
        return
    with bounded_time():
        try:
            document = parse_kubeconfig(content)
            server_of(document, None)
            server = api_server(document, None, folder=Path("/nonexistent"), options=ConnectionOptions(issue_token))
            if server.url.startswith("http:"):
                assert asyncio.run(_authorization(server)) is None
        except ReadFailure as unread:
            assert unread.seen.isprintable()


async def _authorization(server: ApiServer) -> str | None:
    return await server.authorization()
