"""Kubeconfigs as people have them, read as kubectl reads them. No server is asked."""

from __future__ import annotations

import base64
import json
import os
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.clusters.api_server.client import ApiServer
from acr_cleanup.clusters.api_server.kubeconfig import AKS_SCOPE, ConnectionOptions, api_server, scope_of
from acr_cleanup.clusters.api_server.kubeconfig_file import kubeconfig_files, read_kubeconfig

CA = trustme.CA()
OTHER = trustme.CA()
PEM = CA.cert_pem.bytes()
LEAF = CA.issue_cert("client.example")
CERTIFICATE, KEY = LEAF.cert_chain_pems[0].bytes(), LEAF.private_key_pem.bytes()
KUBELOGIN = {"exec": {"command": "kubelogin", "args": ["get-token"]}}


def b64(data: bytes, width: int = 0) -> str:
    text = base64.b64encode(data).decode()
    return "\n".join(textwrap.wrap(text, width)) if width else text


def document(cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **top: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "prod",
        "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://api.example:443", **(cluster or {})}}],
        "users": [{"name": "u", "user": {"token": "t"} if user is None else user}],
        **top,
    }


@dataclass(frozen=True)
class Variant:
    """A kubeconfig, and how it is read: some values of the connection, or words of the refusal."""

    content: Any
    expected: dict[str, Any] = field(default_factory=dict)
    refused: str = ""
    prepare: Callable[[Path], object] = lambda _: None
    context: str | None = None


def ca(text: bytes) -> dict[str, Any]:
    return {"certificate-authority-data": b64(text)}


def client(**keys: str | None) -> dict[str, Any]:
    whole = {"client-certificate-data": b64(CERTIFICATE), "client-key-data": b64(KEY)}
    return {name: value for name, value in {**whole, **keys}.items() if value is not None}


def files(**content: bytes) -> Callable[[Path], object]:
    return lambda folder: [(folder / name.replace("_", ".")).write_bytes(data) for name, data in content.items()]


ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIC\n-----END ENCRYPTED PRIVATE KEY-----\n"
OTHERS: dict[str, Any] = {
    "contexts": [
        {"name": "prod", "context": {"cluster": "c", "user": "u"}},
        {"name": "two words", "context": {"cluster": "c"}},
    ]
}

VARIANTS: dict[str, Variant] = {
    # -- the form of the file
    "yaml": Variant(document(), {"login": "Bearer t"}),
    "json": Variant(json.dumps(document()), {"login": "Bearer t"}),
    "json with tabs": Variant(json.dumps(document(), indent="\t"), {"login": "Bearer t"}),
    "a byte order mark": Variant("\ufeff" + yaml.safe_dump(document()), {"login": "Bearer t"}),
    "windows line ends": Variant(yaml.safe_dump(document()).replace("\n", "\r\n"), {"login": "Bearer t"}),
    "a second document": Variant(f"{yaml.safe_dump(document())}---\nkind: Other\n", {"login": "Bearer t"}),
    "a broken second document": Variant(f"---\n{yaml.safe_dump(document())}---\n[", {"login": "Bearer t"}),
    "comments": Variant(f"# für den Betrieb\n{yaml.safe_dump(document())}", {"login": "Bearer t"}),
    "an anchor": Variant(
        yaml.safe_dump(document()).replace("token: t", "token: &x t\n    password: *x"), {"login": "Bearer t"}
    ),
    "unknown keys": Variant(document(preferences={"colors": True}, extensions=[]), {"login": "Bearer t"}),
    "an empty file": Variant("", refused="not a YAML mapping"),
    "a list": Variant("- a", refused="not a YAML mapping"),
    # -- contexts
    "another context": Variant(document(**OTHERS), {"login": None}, context="two words"),
    "an unknown context": Variant(document(**OTHERS), refused="no context named 'third'", context="third"),
    "no current context": Variant(document() | {"current-context": ""}, refused="no current context"),
    "a context of no cluster": Variant(document(clusters=[]), refused="no cluster named 'c'"),
    "a context of no user": Variant(document(users=None), refused="no user named 'u'"),
    # -- the server
    "a path": Variant(
        document({"server": "https://rancher.example/k8s/c-1/"}), {"url": "https://rancher.example/k8s/c-1"}
    ),
    "an upper-case scheme": Variant(document({"server": "HTTPS://api.example"}), {"url": "https://api.example"}),
    "an IPv6 address": Variant(document({"server": "https://[::1]:6443"}), {"url": "https://[::1]:6443"}),
    "a host and port with a CA": Variant(
        document({"server": "api.example:6443", **ca(PEM)}), {"url": "https://api.example:6443"}
    ),
    "a host and port without TLS": Variant(
        document({"server": "localhost:8080"}), {"url": "http://localhost:8080", "login": None}
    ),
    "http": Variant(document({"server": "http://localhost:8001"}), {"login": None}),
    "no server": Variant(document({"server": ""}), refused="not an HTTP URL"),
    "another scheme": Variant(document({"server": "ftp://x"}), refused="not an HTTP URL"),
    "tls-server-name": Variant(document({"tls-server-name": "real.example"}), {"tls_server_name": "real.example"}),
    # -- proxies
    "an HTTP proxy": Variant(document({"proxy-url": "http://proxy:3128"}), {"proxy": "http://proxy:3128"}),
    "an HTTPS proxy": Variant(document({"proxy-url": "https://proxy:3129"}), {"proxy": "https://proxy:3129"}),
    "a SOCKS proxy": Variant(document({"proxy-url": "socks5://proxy:1080"}), refused="its proxy-url is a socks5 proxy"),
    "a SOCKS proxy with names": Variant(document({"proxy-url": "socks5h://proxy:1080"}), refused="socks5h proxy"),
    "a proxy without a scheme": Variant(document({"proxy-url": "proxy:3128"}), refused="proxy-url"),
    # -- authorities
    "a CA": Variant(document(ca(PEM)), {"authorities": 1}),
    "a CA wrapped over lines": Variant(document({"certificate-authority-data": b64(PEM, 64)}), {"authorities": 1}),
    "a CA with a comment in UTF-8": Variant(document(ca("# Österreich\n".encode() + PEM)), {"authorities": 1}),
    "a CA with a comment in Latin-1": Variant(document(ca(b"# \xd6sterreich\n" + PEM)), {"authorities": 1}),
    "a CA with CRLF": Variant(document(ca(PEM.replace(b"\n", b"\r\n"))), {"authorities": 1}),
    "two CAs": Variant(document(ca(PEM + OTHER.cert_pem.bytes())), {"authorities": 2}),
    "a CA beside a broken one": Variant(
        document(ca(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + PEM)), {"authorities": 1}
    ),
    "a CA beside a key": Variant(document(ca(KEY + PEM)), {"authorities": 1}),
    "a CA file": Variant(document({"certificate-authority": "ca.pem"}), {"authorities": 1}, prepare=files(ca_pem=PEM)),
    "data before a file": Variant(document({**ca(PEM), "certificate-authority": "missing.pem"}), {"authorities": 1}),
    "a missing CA file": Variant(document({"certificate-authority": "missing.pem"}), refused="No such file"),
    "a CA that is not base64": Variant(document({"certificate-authority-data": "%%"}), refused="not base64"),
    "a CA that is no certificate": Variant(document(ca(b"hello")), refused="no certificate in PEM format"),
    # -- users
    "a token file": Variant(
        document(user={"tokenFile": "token"}), {"login": "Bearer abc"}, prepare=files(token=b"abc\n")
    ),
    "a token file before a token": Variant(
        document(user={"tokenFile": "token", "token": "old"}), {"login": "Bearer abc"}, prepare=files(token=b"abc")
    ),
    "an empty token file": Variant(
        document(user={"tokenFile": "token"}), refused="is empty", prepare=files(token=b"\n")
    ),
    "a number as token": Variant(document(user={"token": 12345}), refused="its token is not a text"),
    "a user name and password": Variant(
        document(user={"username": "a", "password": "b"}), {"login": f"Basic {b64(b'a:b')}"}
    ),
    "no login": Variant(document(user={}), {"login": None, "has_login": False}),
    "a client certificate": Variant(document(user=client()), {"login": None, "has_login": True}),
    "a client certificate wrapped over lines": Variant(
        document(user=client(**{"client-certificate-data": b64(CERTIFICATE, 76), "client-key-data": b64(KEY, 76)})),
        {"has_login": True},
    ),
    "a key beside its certificate": Variant(
        document(user=client(**{"client-certificate-data": b64(CERTIFICATE + KEY), "client-key-data": None})),
        {"has_login": True},
    ),
    "a client certificate without a key": Variant(
        document(user=client(**{"client-key-data": None})), refused="without its client-key"
    ),
    "a key of another certificate": Variant(
        document(user=client(**{"client-key-data": b64(OTHER.issue_cert("x.example").private_key_pem.bytes())})),
        refused="certificates cannot be used",
    ),
    "an encrypted key": Variant(document(user=client(**{"client-key-data": b64(ENCRYPTED)})), refused="is encrypted"),
    "kubelogin": Variant(document(user=KUBELOGIN), {"login": f"Bearer token-for-{AKS_SCOPE}", "scope": AKS_SCOPE}),
    "a token before kubelogin": Variant(document(user={"token": "t", **KUBELOGIN}), {"login": "Bearer t"}),
    "a token before another program": Variant(
        document(user={"token": "t", "exec": {"command": "aws"}}), {"login": "Bearer t"}
    ),
    "another program": Variant(document(user={"exec": {"command": "aws"}}), refused="logs in with the program 'aws'"),
    "impersonation": Variant(
        document(
            user={"token": "t", "as": "reader", "as-uid": "7", "as-groups": ["a", "b"], "as-user-extra": {"x/y": ["1"]}}
        ),
        {
            "headers": (
                ("Impersonate-User", "reader"),
                ("Impersonate-Uid", "7"),
                ("Impersonate-Group", "a"),
                ("Impersonate-Group", "b"),
                ("Impersonate-Extra-x%2Fy", "1"),
            )
        },
    ),
}


async def token(scope: str) -> str:
    return f"token-for-{scope}"


async def values(server: ApiServer, scope: str | None) -> dict[str, Any]:
    return {
        "url": server.url,
        "login": await server.authorization(),
        "tls_server_name": server.tls_server_name,
        "proxy": server.proxy,
        "authorities": len(server.context.get_ca_certs()) if server.has_authority else 0,
        "has_login": server.has_login,
        "headers": server.headers,
        "scope": scope,
    }


@pytest.mark.parametrize("name", VARIANTS)
async def test_variant_is_read_as_kubectl_reads_it(name: str, tmp_path: Path) -> None:
    variant = VARIANTS[name]
    variant.prepare(tmp_path)
    path = tmp_path / "config"
    content = variant.content if isinstance(variant.content, str) else yaml.safe_dump(variant.content)
    path.write_text(content, encoding="utf-8", newline="")

    async def read() -> dict[str, Any]:
        kubeconfig = read_kubeconfig(path)
        server = api_server(kubeconfig, variant.context, folder=tmp_path, options=ConnectionOptions(token))
        return await values(server, scope_of(kubeconfig, variant.context))

    if variant.refused:
        with pytest.raises(ReadFailure, match=re.escape(variant.refused)) as caught:
            await read()
        assert caught.value.remedy
    else:
        found = await read()
        assert {key: found[key] for key in variant.expected} == variant.expected


def test_table_has_fifty_variants() -> None:
    assert len(VARIANTS) >= 50


# -- lists of files --------------------------------------------------------------------------------


async def test_list_of_files_is_merged_first_value_wins(tmp_path: Path) -> None:
    """As in KUBECONFIG. Paths in a file begin in its own folder, and missing files are skipped."""
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    first = {"users": [{"name": "u", "user": {"token": "first"}}], "current-context": "prod"}
    second = document({"certificate-authority": "ca.pem"}, {"token": "second"}, **{"current-context": "other"})
    (one / "config").write_text(yaml.safe_dump(first))
    (two / "config").write_text(yaml.safe_dump(second))
    (two / "ca.pem").write_bytes(PEM)
    path = Path(os.pathsep.join([str(tmp_path / "missing"), str(one / "config"), "", str(two / "config")]))
    server = api_server(read_kubeconfig(path), None, folder=tmp_path, options=ConnectionOptions(token))
    assert await server.authorization() == "Bearer first"
    assert len(server.context.get_ca_certs()) == 1
    assert len(kubeconfig_files(path)) == 3


def test_list_without_any_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReadFailure, match="no file of"):
        read_kubeconfig(Path(os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "b")])))
