"""
Run a step of Azure Pipelines like the task does: inputs in one variable, and the result in a file.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acr_cleanup.emulator.world import PIPELINES_ISSUER, FederatedCredential
from acr_cleanup.reports import outputs as report_outputs
from acr_cleanup.runtimes.azure_devops import camel_case
from tests.helpers.jobs import Annotation, Job, Log, Step

CONNECTION = "44444444-4444-4444-4444-444444444444"


@dataclass
class TaskLog(Log):
    """
    The output of the process that the task starts.

    It must not contain commands for the agent.
    """

    def __post_init__(self) -> None:
        self.lines = self.text.splitlines()
        assert not any("##[" in line or "##vso[" in line for line in self.lines), self.text


@dataclass
class TaskStep(Step):
    """The result of a step, as the task reads it."""

    result: Mapping[str, Any]
    """The content of the result file."""

    def output(self, name: str) -> str:
        return self.outputs[camel_case(name)]

    @property
    def is_complete(self) -> bool:
        """Does the step have every output, and does the file repeat its exit code and result?"""
        return (
            set(self.outputs) == {camel_case(name) for name in report_outputs.NAMES}
            and self.result["exit_code"] == self.code
            and self.result["result"] == self.outputs["result"]
        )

    def assert_no_foreign_command(self) -> None:
        everything = (
            self.log.text + self.summary + json.dumps(self.result) + json.dumps(self.result, ensure_ascii=False)
        )
        assert not re.search(r"##(vso)?\[", everything)
        assert "\x1b" not in everything
        assert "\n===" not in self.summary
        assert "\n# b" not in self.summary


@dataclass
class TaskJob(Job):
    """A job of Azure Pipelines with a service connection."""

    @property
    def result_file(self) -> Path:
        return self.folder / "commands" / "result.json"

    @property
    def summary_file(self) -> Path:
        return self.folder / "commands" / "ACR cleanup.md"

    def trust(self) -> None:
        """Let the application trust the service connection."""
        directory = self.world.directory
        credential = FederatedCredential(directory.client_id, PIPELINES_ISSUER, directory.pipelines_subject)
        directory.federated.append(credential)

    def login(self) -> dict[str, str]:
        return {"auth-type": "azure-pipelines"}

    def variables(self, inputs: Mapping[str, str]) -> dict[str, str]:
        directory, emulated = self.world.directory, self.emulator.environment()
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "TF_BUILD": "True",
            "ACR_CLEANUP_RUNTIME": "azure-devops",
            "ACR_CLEANUP_INPUTS": json.dumps(dict(inputs)),
            "ACR_CLEANUP_RESULT": str(self.result_file),
            "ACR_CLEANUP_SUMMARY": str(self.summary_file),
            "AGENT_TEMPDIRECTORY": str(self.folder / "temp"),
            "AZURE_TENANT_ID": directory.tenant,
            "AZURE_CLIENT_ID": directory.client_id,
            "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID": CONNECTION,
            **{name: value for name, value in emulated.items() if not name.startswith("AZURE_")},
            **self.emulator.pipelines_environment(),
            **self.environment,
        }

    async def run(
        self,
        inputs: Mapping[str, str],
        *,
        without: Sequence[str] = (),
        interrupt: tuple[asyncio.Event, signal.Signals] | None = None,
        limit: float = 60,
    ) -> TaskStep:
        for file in (self.result_file, self.summary_file):
            file.unlink(missing_ok=True)
        code, text, seconds = await self.start(inputs, without=without, interrupt=interrupt, limit=limit)
        result = json.loads(self.result_file.read_text()) if self.result_file.is_file() else {}
        log = TaskLog(text)
        log.annotations = [
            Annotation(annotation["level"], annotation["title"], annotation["text"])
            for annotation in result.get("annotations", ())
        ]
        report = self.folder / (result.get("report") or "none")
        return TaskStep(
            code,
            log,
            result.get("outputs", {}),
            self.summary_file.read_text() if self.summary_file.is_file() else "",
            json.loads(report.read_text()) if report.is_file() else {},
            seconds,
            result,
        )
