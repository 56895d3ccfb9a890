"""Log in to an emulated Entra ID, on a machine without other logins."""

from __future__ import annotations

import re
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from acr_cleanup.access.clouds import CLOUDS, Cloud
from acr_cleanup.access.credentials import SingleFlightCredential, open_credential
from acr_cleanup.access.federation import TOOL_TIMEOUT, LoginChoice
from acr_cleanup.access.network import open_network
from acr_cleanup.emulator import Emulator
from acr_cleanup.errors import IdentityError

REGISTRY = CLOUDS["azurecloud"].registry_scope
ARM = CLOUDS["azurecloud"].resource_manager_scope


@contextmanager
def dead_port() -> Iterator[int]:
    """
    Yield a port that refuses connections.

    It remains bound, since the next server could get a free port.
    """
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def cloud_of(emulator: Emulator) -> Cloud:
    return replace(CLOUDS["azurecloud"], authority=emulator.authority_url)


@asynccontextmanager
async def credential_in(
    cloud: Cloud, environ: dict[str, str], wait: int = TOOL_TIMEOUT
) -> AsyncIterator[SingleFlightCredential]:
    choice = LoginChoice(login_timeout=wait)
    async with open_network(environ) as network, open_credential(cloud, network, environ, choice) as credential:
        yield credential


async def refusal(cloud: Cloud, environ: dict[str, str], scope: str = REGISTRY) -> IdentityError:
    """
    Return the error of a failed login. Its text must have no secrets, and one line besides commands.
    """
    with pytest.raises(IdentityError) as caught:
        async with credential_in(cloud, environ) as credential:
            await credential.get_token(scope)
    error = caught.value
    assert error.remedy
    shown = str(error)
    assert "\n" not in re.sub(r"\n`[^`\n]+`", "", shown)
    assert "Trace ID" not in shown
    assert "emulator-secret" not in shown
    assert "hunter2" not in shown
    return error


def tool(folder: Path, script: str, name: str = "az") -> None:
    """Write a stand-in for a tool of the user, such as `az`."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
