"""The fixture of all tests of the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.config_files import ConfigFiles


@pytest.fixture
def files(tmp_path: Path) -> ConfigFiles:
    return ConfigFiles(tmp_path)
