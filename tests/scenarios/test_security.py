"""Promises of the threat model in SECURITY.md that no other test covers."""

from __future__ import annotations

import ast
import gzip
import json
import os
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from azure.core.exceptions import ServiceRequestError

import acr_cleanup
from acr_cleanup.access.network import open_network
from acr_cleanup.clusters.images import helm_history as helm
from acr_cleanup.emulator import Emulator, World
from acr_cleanup.emulator.faults import Fault
from acr_cleanup.emulator.kubernetes.kubeconfig import kubeconfig
from acr_cleanup.emulator.kubernetes.state import ClusterState
from acr_cleanup.errors import RegistryError
from acr_cleanup.pipeline import OutputPath
from acr_cleanup.records.journal import open_journal
from acr_cleanup.reports import files
from acr_cleanup.reports.context import Context
from tests.access.test_network import get, serve
from tests.clusters.images.test_helm_history import HOST, blockers, findings, plain, release, used, with_json, with_raw
from tests.helpers import sample_results as samples
from tests.helpers.generated_inventories import NOW
from tests.helpers.registry_clients import emulated_registry
from tests.helpers.stage import staged_over_tls
from tests.records.test_journal import PLAN

PACKAGE = Path(acr_cleanup.__file__).parent
SOURCES = [*sorted(PACKAGE.rglob("*.py")), PACKAGE.parent / "entrypoint.py"]


# -- forbidden calls in the source ---------------------------------------------------------------

FORBIDDEN = {
    "eval", "exec", "compile", "__import__", "breakpoint",
    "os.system", "os.popen", "os.exec*", "os.spawn*", "os.posix_spawn*", "os.startfile",
    "subprocess.*", "asyncio.create_subprocess_*", "pty.*", "ctypes.*",
    "pickle.*", "marshal.*", "shelve.*", "dill.*", "importlib.import_module", "runpy.*",
    "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.unsafe_load_all",
    "ssl._create_unverified_context", "ssl.wrap_socket", "tempfile.mktemp", "xml.*",
    "ssl.CERT_NONE",
}  # fmt: skip
"""
Names, and prefixes that end with `*`, that could run a shell or foreign code, or skip TLS
verification.
"""

ALLOWED = {
    # A kubeconfig may set insecure-skip-tls-verify for its own cluster.
    ("clusters/api_server/tls.py", "ssl.CERT_NONE"),
    # Uses the safe loader in C, on a document whose depth was checked.
    ("clusters/api_server/kubeconfig_file.py", "yaml.load_all"),
    # Runs this program with fixed arguments.
    ("commands/demo.py", "asyncio.create_subprocess_exec"),
    # Packs plans in the memory of this process; never reads a file or the network.
    ("core/packed.py", "pickle.*"),
}
"""Exceptions: a file and a name or prefix."""


def used_names(tree: ast.AST) -> Iterator[str]:
    """
    Yield all dotted names in the source, called functions, and keyword arguments that weaken
    security.
    """
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute):
            parts, inner = [node.attr], node.value
            while isinstance(inner, ast.Attribute):
                parts.append(inner.attr)
                inner = inner.value
            if isinstance(inner, ast.Name) and inner.id in modules:
                yield ".".join([modules[inner.id], *reversed(parts)])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield modules.get(node.func.id, node.func.id)
        if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
            if node.arg in ("shell", "trust_env") and node.value.value is True:
                yield f"{node.arg}=True"
            if (
                node.arg in ("ssl", "verify", "verify_ssl", "connection_verify", "check_hostname")
                and node.value.value is False
            ):
                yield f"{node.arg}=False"


def matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def forbidden_names(source: str) -> set[str]:
    return {
        name
        for name in used_names(ast.parse(source))
        if "=" in name or any(matches(name, pattern) for pattern in FORBIDDEN)
    }


def test_source_has_no_forbidden_calls() -> None:
    """
    Each exception is used: one for a file that was moved would allow the call in a new file of that
    name.
    """
    violations, used_exceptions = [], set()
    for path in SOURCES:
        file = str(path.relative_to(PACKAGE)) if path.is_relative_to(PACKAGE) else path.name
        for name in forbidden_names(path.read_text(encoding="utf-8")):
            exceptions = {(file, pattern) for where, pattern in ALLOWED if where == file and matches(name, pattern)}
            used_exceptions |= exceptions
            violations += [] if exceptions else [f"{file}: {name}"]
    assert violations == []
    assert used_exceptions == ALLOWED
    assert len(SOURCES) > 100


def test_search_of_the_source_finds_forbidden_calls() -> None:
    source = (
        "import os, subprocess as s, yaml, pickle, ssl\nfrom subprocess import run\nfrom os import system as quietly\n"
        "def f(x):\n  os.system(x); s.run(x, shell=True); yaml.load(x); pickle.loads(x); eval(x); quietly(x)\n"
        "  session.get(x, ssl=False); ssl.CERT_NONE; os.execv(x, [])\n"
    )
    assert forbidden_names(source) == {
        "os.system", "subprocess.run", "shell=True", "yaml.load", "pickle.loads", "eval", "ssl=False", "ssl.CERT_NONE", "os.execv",
    }  # fmt: skip


# -- TLS -----------------------------------------------------------------------------------------


async def test_untrusted_certificate_of_any_service_is_refused() -> None:
    """
    No request reaches the registry, Entra ID, the resource manager, the ID token issuer or an API
    server.
    """
    world = World(clusters={"production": ClusterState("aks-prod")})
    async with Emulator(world) as emulator:
        urls = [
            f"https://{emulator.registry_url}",
            emulator.authority_url,
            emulator.resource_manager,
            emulator.oidc_url,
            emulator.kubernetes_url("production"),
        ]
        async with open_network({}) as network:
            for url in urls:
                with pytest.raises(ServiceRequestError, match=r"(?i)certificate verify failed"):
                    await get(network, url, Authorization="Bearer secret")
        assert world.requests == []
        async with open_network({"SSL_CERT_FILE": emulator.ca_file}) as network:
            for url in urls:
                await get(network, url)
        assert len(world.requests) == len(urls)


async def test_certificate_for_another_host_is_refused(tmp_path: Path) -> None:
    async with serve(tmp_path) as server, open_network({"SSL_CERT_FILE": str(server.ca_file)}) as network:
        await get(network, server.url)
        with pytest.raises(ServiceRequestError, match=r"(?i)certificate verify failed"):
            await get(network, server.url.replace("localhost", "127.0.0.1"))
        assert len(server.requests) == 1


# -- programs in a kubeconfig --------------------------------------------------------------------


@pytest.mark.parametrize("command", ["./trap", "kubelogin"])
async def test_program_in_a_kubeconfig_is_not_run(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Neither a script next to the kubeconfig, nor a `kubelogin` on the PATH, which the tool replaces
    by a token.
    """
    was_run = tmp_path / "was-run"
    for name in ("trap", "kubelogin"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {was_run}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    async with staged_over_tls(tmp_path, monkeypatch, "direct") as stage:
        stage.cluster.auth = "entra"
        emulator = stage.tool.emulator
        document = yaml.safe_load(
            kubeconfig(
                stage.cluster,
                server=emulator.kubernetes_url(stage.cluster),
                ca_pem=emulator.authority.ca_pem,
                role="clusterUser",
                auth="token",
                tenant=stage.world.directory.tenant,
                certificate=("", ""),
            )
        )
        program = {"apiVersion": "client.authentication.k8s.io/v1", "command": command, "args": ["get-token"]}
        document["users"][0]["user"] = {"exec": {**program, "interactiveMode": "Never"}}
        (tmp_path / "config").write_text(yaml.safe_dump(document))
        config = stage.tool.emulator.config() | {"kubernetes_clusters": {"any": {"kubeconfig": "config"}}}
        ran = await stage.tool.plan(config)

        assert ran.code == (0 if command == "kubelogin" else 3), ran.out + ran.err
        assert not was_run.exists()


# -- compressed data that expands without limit --------------------------------------------------


def ten_gigabytes() -> bytes:
    """
    Return gzip data that expands to ten gigabytes: the same compressed megabyte of blanks,
    repeated.
    """
    compressor = zlib.compressobj(9, wbits=-15)
    megabyte = compressor.compress(b" " * 1024**2) + compressor.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + megabyte * 10 * 1024


@pytest.mark.extended
@pytest.mark.parametrize(
    ("compress", "message"),
    [
        pytest.param(ten_gigabytes, "more than 64 MiB", id="ten-gigabytes"),
        pytest.param(lambda: gzip.compress(gzip.compress(b" " * 10 * 1024**2)), "not the JSON", id="gzip-in-gzip"),
        pytest.param(
            lambda: gzip.compress(b'{"name":"web","chart":{},"config":{"a":[' + b"[]," * 5_000_000 + b"[]]}}"),
            "more than 250,000 values",
            id="five-million-values",
        ),
        pytest.param(
            lambda: gzip.compress(b'{"name":"web","chart":{"values":{"a":[' + b"{}," * 5_000_000 + b"{}]}}}"),
            "more than 250,000 values",
            id="five-million-defaults",
        ),
        pytest.param(
            lambda: gzip.compress(json.dumps(plain(manifest=f"a: {HOST}/a:1\n---\n" * 500_000)).encode()),
            "far larger than any manifest",
            id="half-a-million-documents",
        ),
        pytest.param(
            lambda: gzip.compress(json.dumps(plain(manifest=f"- {HOST}/a:1\n" * 500_000)).encode()),
            "far larger than any manifest",
            id="half-a-million-images",
        ),
    ],
)
def test_compression_bomb_in_a_release_is_a_blocker(compress: Any, message: str) -> None:
    """
    A user who may write a Secret must not be able to stop the tool or exhaust its memory.

    The other revisions of the release are read.
    """
    secret = with_raw(compress())
    start = time.process_time()
    release_findings = findings(secret, release(2, "a:2"))
    assert message in blockers(release_findings)
    assert used(release_findings) == {"a:2"}
    assert time.process_time() - start < 10, "without the limits it takes minutes and gigabytes"


def test_release_with_millions_of_values_needs_little_memory() -> None:
    secret = with_raw(gzip.compress(b'{"name":"web","chart":{},"config":{"a":[' + b"[]," * 2_000_000 + b"[]]}}"))
    tracemalloc.start()
    try:
        findings(secret)
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024**2
    finally:
        tracemalloc.stop()


def test_large_ordinary_release_is_within_the_limits() -> None:
    """It has 300 objects, 5,000 values, and dashboards with many commas."""
    documents = [f"kind: Deployment\nspec: {{image: {HOST}/shop/web:{number}}}\n" for number in range(300)]
    documents += [f"kind: ConfigMap\ndata: {{dashboard: '{json.dumps(list(range(20_000)))}'}}\n"] * 10
    values = {f"key{number}": {"a": number, "b": [number] * 3} for number in range(1000)}
    release_findings = findings(with_json(plain(manifest="---\n".join(documents), config=values)))
    assert not release_findings.blockers
    assert len([name for name in used(release_findings) if name.startswith("shop/web:")]) == 201
    assert helm.MOST_DOCUMENTS > 10 * 300


async def test_compression_bomb_in_an_answer_is_refused() -> None:
    """The Content-Length header gives only the compressed size."""
    world = World()
    world.registry.push("shop/web", "1.0")
    body, headers = gzip.compress(b" " * 64 * 1024**2), {"Content-Encoding": "gzip"}
    world.faults.append(Fault(service="acr", path="/oauth2/exchange", status=200, headers=headers, body=body))
    async with emulated_registry(world) as emulated:
        tracemalloc.start()
        try:
            with pytest.raises(RegistryError):
                await emulated.registry.list_repository("shop/web")
            assert tracemalloc.get_traced_memory()[1] < 24 * 1024**2
        finally:
            tracemalloc.stop()


# -- paths and links -----------------------------------------------------------------------------

OUTSIDE = ("..", "../x", "/etc/x", "a/../../x", "link", "link/x", "loop/x", "nul\0", "~root/../../x", "a/b/../../../x")


@pytest.mark.parametrize("path", OUTSIDE)
def test_path_outside_the_workspace_is_refused(path: str, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "link").symlink_to(tmp_path)
    (workspace / "loop").symlink_to("loop")
    for problems in (
        OutputPath.of_reports(workspace, Path(path)).problems(),
        OutputPath.of_snapshot(workspace, Path(path)).problems(),
    ):
        assert [problem.seen for problem in problems] == [f"{path!r} is not inside the workspace."]


@pytest.mark.parametrize(
    "link",
    [".acr-cleanup", ".report.json.part", ".plan.json.part", ".summary.md.part", ".report.html.part", *files.names()],
)
@pytest.mark.parametrize("reviewed", [None, b"{}"])
def test_links_in_the_report_folder_are_not_followed(link: str, reviewed: bytes | None, tmp_path: Path) -> None:
    """A checked-out branch may contain such links, and the step may run as root."""
    existing, missing = tmp_path / "existing", tmp_path / "missing"
    for target in (existing, missing):
        folder = tmp_path / f"report-{target.name}"
        folder.mkdir()
        existing.write_text("content")
        (folder / link).symlink_to(target)
        files.prepare(folder)
        files.write(samples.applied(), folder, Context(), reviewed)

        assert existing.read_text() == "content"
        assert not missing.exists()
        assert {path.name for path in folder.iterdir() if not path.is_symlink()} >= set(files.names())


def test_link_in_place_of_the_journal_is_renamed(tmp_path: Path) -> None:
    """
    The link itself is renamed, and its target gets no hard link in the workspace that could be
    uploaded.
    """
    target = tmp_path / "target"
    target.write_text("content")
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "journal.jsonl").symlink_to(target)
    with open_journal(folder, PLAN, NOW, {}):
        pass

    assert target.read_text() == "content"
    assert target.stat().st_nlink == 1
    assert not (folder / "journal.jsonl").is_symlink()


def test_journal_with_an_impossible_time_is_renamed(tmp_path: Path) -> None:
    """The time is before the year 1 in UTC."""
    (tmp_path / "journal.jsonl").write_text('{"started_at": "0001-01-01T00:00:00+14:00"}\n')
    with open_journal(tmp_path, PLAN, NOW, {}):
        pass
    assert len(list(tmp_path.glob("journal-*.jsonl"))) == 1
