"""Kubeconfigs: the values that are used, the programs that are never run, and the errors."""

from __future__ import annotations

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from acr_cleanup.access.read_failure import ReadFailure
from acr_cleanup.clusters.api_server.client import ApiServer
from acr_cleanup.clusters.api_server.kubeconfig import (
    AKS_SERVER_APP,
    ConnectionOptions,
    api_server,
)
from acr_cleanup.clusters.api_server.kubeconfig_file import parse_kubeconfig, read_kubeconfig
from acr_cleanup.clusters.api_server.trust import Trust


async def token(scope: str) -> str:
    return f"token-for-{scope}"


def document(cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "prod",
        "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://api.example:443", **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
    }


def server(kubeconfig: dict[str, Any], folder: Path = Path(), context: str | None = None, **options: Any) -> ApiServer:
    return api_server(kubeconfig, context, folder=folder, options=ConnectionOptions(token, **options))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def kubelogin(*args: str, command: str = "kubelogin") -> dict[str, Any]:
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1beta1", "command": command, "args": list(args)}}


async def test_token_is_sent() -> None:
    assert await server(document(user={"token": "abc"})).authorization() == "Bearer abc"


@pytest.mark.parametrize("arguments", [[], None, 7, "--server-id", [None], ["--server-id"]], ids=str)
async def test_kubelogin_with_any_arguments_is_replaced(arguments: Any) -> None:
    user = {"exec": {"command": "kubelogin", "args": arguments}}
    assert await server(document(user=user)).authorization() == f"Bearer token-for-{AKS_SERVER_APP}/.default"


@pytest.mark.parametrize("user", [{"token": "secret"}, kubelogin()], ids=str)
async def test_login_is_not_sent_over_http(user: dict[str, Any]) -> None:
    for url, sent in (("http://localhost:8001", False), ("https://localhost:8001", True)):
        assert (await server(document({"server": url}, user)).authorization() is not None) == sent


async def test_kubeconfig_without_login_sends_none() -> None:
    assert await server(document()).authorization() is None


async def test_token_file_is_read_for_each_request(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first\n")
    at = server(document(user={"tokenFile": "token", "token": "old"}), tmp_path)
    assert await at.authorization() == "Bearer first"
    (tmp_path / "token").write_text("second\n")
    assert await at.authorization() == "Bearer second"
    (tmp_path / "token").unlink()
    with pytest.raises(ReadFailure, match="tokenFile"):
        await at.authorization()


@pytest.mark.parametrize(
    ("user", "application"),
    [
        (kubelogin("get-token", "--login", "devicecode", "--server-id", "11-22"), "11-22"),
        (kubelogin("get-token", "--server-id=11-22"), "11-22"),
        (kubelogin("get-token"), AKS_SERVER_APP),
        (kubelogin("get-token", command="/opt/azure/kubelogin"), AKS_SERVER_APP),
        (kubelogin("get-token", command=r"C:\azure\kubelogin.exe"), AKS_SERVER_APP),
        ({"auth-provider": {"name": "azure", "config": {"apiserver-id": "11-22"}}}, "11-22"),
        ({"auth-provider": {"name": "azure"}}, AKS_SERVER_APP),
    ],
    ids=str,
)
async def test_kubelogin_is_replaced_by_own_token(user: dict[str, Any], application: str) -> None:
    at = server(document(user=user))
    assert await at.authorization() == f"Bearer token-for-{application}/.default"


@pytest.mark.parametrize(
    "user",
    [
        kubelogin(command="aws"),
        kubelogin(command="sh"),
        kubelogin("get-token", "--oidc-issuer-url=https://accounts.example", command="kubelogin"),
        kubelogin("oidc-login", "get-token", command="kubectl"),
        {"exec": {}},
        {"auth-provider": {"name": "gcp"}},
    ],
    ids=str,
)
def test_other_login_program_is_refused(user: dict[str, Any]) -> None:
    with pytest.raises(ReadFailure) as caught:
        server(document(user=user))
    assert "logs in" in caught.value.seen
    assert "token or a client certificate" in caught.value.remedy


def test_login_program_is_never_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with pytest.raises(ReadFailure):
        server(document(user=kubelogin(str(trace), command="touch")))
    server(document(user=kubelogin("x; touch", str(trace), command="kubelogin")))
    assert not trace.exists()


def test_certificates_are_read_from_data_or_files(tmp_path: Path) -> None:
    ca = trustme.CA()
    leaf = ca.issue_cert("client.example")
    pem, key = leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes()
    by_data = document(
        {"certificate-authority-data": b64(ca.cert_pem.bytes())},
        {"client-certificate-data": b64(pem), "client-key-data": b64(key)},
    )
    (tmp_path / "ca.pem").write_bytes(ca.cert_pem.bytes())
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "client.pem").write_bytes(pem)
    (tmp_path / "pki" / "client.key").write_bytes(key)
    by_file = document(
        {"certificate-authority": "ca.pem"}, {"client-certificate": "pki/client.pem", "client-key": "pki/client.key"}
    )
    for kubeconfig in (by_data, by_file):
        context = server(kubeconfig, tmp_path).context
        assert len(context.get_ca_certs()) == 1
        assert context.verify_mode is ssl.CERT_REQUIRED


def test_private_key_is_not_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    leaf = trustme.CA().issue_cert("client.example")
    pem, key = leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes()
    server(document(user={"client-certificate-data": b64(pem), "client-key-data": b64(key)}))
    with pytest.raises(ReadFailure):
        server(document(user={"client-certificate-data": b64(pem), "client-key-data": b64(pem)}))
    assert list(tmp_path.iterdir()) == []


def test_further_ca_is_trusted_with_clusters_own(tmp_path: Path) -> None:
    """A proxy that inspects TLS replaces the API server's certificate."""
    cluster, company = trustme.CA(organization_name="cluster"), trustme.CA(organization_name="company")
    (tmp_path / "company.pem").write_bytes(company.cert_pem.bytes())
    kubeconfig = document({"certificate-authority-data": b64(cluster.cert_pem.bytes())})
    at = server(kubeconfig, trust=Trust((tmp_path / "company.pem",)))
    names = [_names(context) for context in (at.context, *(load() for load in at.fallbacks))]
    assert names == [{"cluster"}, {"company"}, {"cluster", "company"}]
    with pytest.raises(ReadFailure, match="certificates cannot be used"):
        server(document(), trust=Trust((tmp_path / "nothing.pem",)))


def _names(context: ssl.SSLContext) -> set[str]:
    """The organisations of the trusted authorities."""
    subjects = [str(certificate["subject"]) for certificate in context.get_ca_certs()]
    return {name for name in ("cluster", "company") if any(f"'{name}'" in subject for subject in subjects)}


def test_clusters_share_the_contexts_of_the_environment(tmp_path: Path) -> None:
    """A bundle is loaded once, and not at all if no certificate needs it."""
    bundle, trusted = tmp_path / "company.pem", trustme.CA()
    bundle.write_bytes(trusted.cert_pem.bytes())
    trust = Trust((bundle, bundle))
    kubeconfigs = [document({"certificate-authority-data": b64(trustme.CA().cert_pem.bytes())}) for _ in range(3)]
    clusters = [server(kubeconfig, trust=trust) for kubeconfig in kubeconfigs]
    assert [len(cluster.context.get_ca_certs()) for cluster in clusters] == [1, 1, 1]
    assert len({id(cluster.fallbacks[0]()) for cluster in clusters}) == 1
    assert len({id(server(document(), trust=trust).context) for _ in range(3)}) == 1


def test_context_with_a_client_certificate_is_not_shared(tmp_path: Path) -> None:
    """Otherwise one cluster's certificate would be sent to the others."""
    (tmp_path / "company.pem").write_bytes(trustme.CA().cert_pem.bytes())
    leaf, trust = trustme.CA().issue_cert("client.example"), Trust((tmp_path / "company.pem",))
    pem, key = leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes()
    user = {"client-certificate-data": b64(pem), "client-key-data": b64(key)}
    authority = {"certificate-authority-data": b64(trustme.CA().cert_pem.bytes())}
    for cluster in ({}, authority, {"insecure-skip-tls-verify": True}):
        at = [server(document(cluster, user), trust=trust) for _ in range(2)]
        contexts = [at[0].context, at[1].context, *(load() for server in at for load in server.fallbacks)]
        assert len({id(context) for context in contexts}) == len(contexts)


def test_tls_verification_is_off_only_if_configured() -> None:
    assert server(document()).context.verify_mode is ssl.CERT_REQUIRED
    assert server(document({"insecure-skip-tls-verify": True})).context.verify_mode is ssl.CERT_NONE
    assert server(document({"insecure-skip-tls-verify": "true"})).context.verify_mode is ssl.CERT_REQUIRED


def test_proxy_url_precedes_environment() -> None:
    def proxy_for(url: str) -> str:
        return f"http://environment/{url}"

    assert server(document(), proxy_for=proxy_for).proxy == "http://environment/https://api.example:443"
    assert server(document({"proxy-url": "http://own:3128"}), proxy_for=proxy_for).proxy == "http://own:3128"


def test_server_and_tls_server_name_are_read() -> None:
    at = server(document({"server": "https://api.example/k8s/", "tls-server-name": "real.example"}))
    assert (at.url, at.tls_server_name) == ("https://api.example/k8s", "real.example")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x00\x01", "not YAML"),
        (b"a: [", "not YAML"),
        (b"- " * 200_000, "nested too deeply"),
        (b"a: " + b"[" * 200_000, "nested too deeply"),
        (b"", "not a YAML mapping"),
        (b"- a", "not a YAML mapping"),
        (b"text", "not a YAML mapping"),
        (b"!!python/object/apply:os.system ['true']", "not YAML"),
    ],
    ids=repr,
)
def test_file_that_is_not_a_kubeconfig_is_refused(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_bytes(content)
    with pytest.raises(ReadFailure, match=words):
        read_kubeconfig(path)


def test_missing_kubeconfig_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReadFailure, match="No such file"):
        read_kubeconfig(tmp_path / "nothing")


@pytest.mark.parametrize("key", ["current-context", "contexts", "clusters", "users"])
@pytest.mark.parametrize("odd", [None, [], {}, "text", 7, [None], [{"name": "prod"}]], ids=repr)
def test_malformed_section_is_a_read_failure(key: str, odd: Any) -> None:
    with pytest.raises(ReadFailure):
        server(document() | {key: odd})


@pytest.mark.parametrize("key", ["server", "certificate-authority-data", "tls-server-name", "proxy-url"])
@pytest.mark.parametrize("odd", [None, [], {}, "text", 7, "ftp://x"], ids=repr)
def test_malformed_value_does_not_crash(key: str, odd: Any) -> None:
    try:
        server(document({key: odd}))
    except ReadFailure:
        return
    assert key != "server"


def test_context_is_chosen_by_name() -> None:
    kubeconfig = document()
    kubeconfig["contexts"].append({"name": "other", "context": {"cluster": "d", "user": "u"}})
    kubeconfig["clusters"].append({"name": "d", "cluster": {"server": "https://other.example"}})
    assert server(kubeconfig, context="other").url == "https://other.example"
    with pytest.raises(ReadFailure, match=r"no context named 'third' \(it has: prod, other\)"):
        server(kubeconfig, context="third")


def test_dumped_kubeconfig_is_read_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(document()))
    assert read_kubeconfig(path) == document() == parse_kubeconfig(path.read_bytes())
