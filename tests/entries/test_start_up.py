"""`--version` and `--help` are answered without slow imports, and a run imports only what it uses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from acr_cleanup import version
from acr_cleanup.__main__ import entry
from acr_cleanup.cli import run
from acr_cleanup.clusters.api_server.late_imports import imported_on_use
from tests.bench.starting import SDKS, imported
from tests.helpers.paths import ROOT


def test_quick_version_equals_version_of_parser(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--version` is answered before the parser is imported, with the same text."""
    monkeypatch.setattr(sys, "argv", ["acr-cleanup", "--version"])
    entry()
    quick = capsys.readouterr().out

    with pytest.raises(SystemExit) as end:
        run(["--version"], {})

    assert end.value.code == 0
    assert quick == capsys.readouterr().out == f"acr-cleanup {version()}\n"


def test_container_answers_version_without_the_parser() -> None:
    """With arguments, the entrypoint is a command line, even in GitHub Actions."""
    command = [sys.executable, "-X", "importtime", "entrypoint.py", "--version"]
    environ = {**os.environ, "GITHUB_ACTIONS": "true"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, env=environ)

    assert (done.returncode, done.stdout) == (0, f"acr-cleanup {version()}\n")
    assert "acr_cleanup.__main__" in done.stderr
    assert "acr_cleanup.cli" not in done.stderr
    assert "pydantic" not in done.stderr


def test_unknown_flag_is_reported_by_the_parser() -> None:
    """The module of `python -m` passes everything but `--version` to the parser."""
    done = subprocess.run(
        [sys.executable, "-m", "acr_cleanup", "--version-please"], capture_output=True, text=True, cwd=ROOT, check=False
    )

    assert done.returncode == 2
    assert (
        done.stderr
        == "acr-cleanup: There is no flag --version-please. Did you mean --version? See acr-cleanup --help.\n"
    )


@pytest.mark.parametrize("arguments", [("plan", "--help"), ("--version",)])
def test_help_imports_no_sdk(arguments: tuple[str, ...]) -> None:
    """The SDKs take more than a second to import."""
    assert imported(*arguments).isdisjoint(SDKS)


def test_help_imports_only_the_table_of_options() -> None:
    """Importing any of the other packages takes longer than parsing the arguments."""
    assert imported("plan", "--help").isdisjoint(
        {"pydantic", "pydantic_core", "yaml", "rich", "asyncio", "msgspec", "re2"}
    )


def test_module_is_loaded_when_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "generated_client"
    package.mkdir()
    (package / "__init__.py").write_text("from . import models, rest\nfrom .rest import loaded\n")
    (package / "models.py").write_text("import sys\nsys.models_are_loaded = True\nNAME = 'Pod'\n")
    (package / "rest.py").write_text("loaded = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    finders = list(sys.meta_path)

    with imported_on_use("generated_client.models", "generated_client.nothing"):
        import generated_client  # type: ignore[import-not-found]  # noqa: PLC0415

        with pytest.raises(ModuleNotFoundError, match=r"generated_client\.nothing"):
            import generated_client.nothing  # type: ignore[import-not-found]  # noqa: PLC0415

    assert (sys.meta_path, generated_client.loaded) == (finders, True)
    assert not hasattr(sys, "models_are_loaded")
    assert generated_client.models.NAME == "Pod"
    assert sys.__dict__.pop("models_are_loaded")


def test_only_the_used_parts_of_the_kubernetes_client_are_imported() -> None:
    """All of it takes 190 ms: typed models, watches, websockets, and the logins of other clouds."""
    program = "import acr_cleanup.clusters.api_server.transport, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    modules = set(done.stdout.split())
    assert "kubernetes.aio.client.rest" in modules
    assert modules.isdisjoint({"pydantic", "oauthlib", "websocket", "requests", "kubernetes.config.kube_config"})


def test_garbage_is_searched_for_rarely_and_not_at_the_end() -> None:
    program = (
        "import atexit, gc\n"
        "from acr_cleanup.runtimes.garbage import relax_gc\n"
        "before = gc.get_threshold()\n"
        "atexit.register(lambda: print(gc.get_threshold() > before, gc.get_freeze_count() > 1000))\n"
        "relax_gc()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["True", "True"]
