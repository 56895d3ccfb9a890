"""The fixtures of all tests that run a step."""

from tests.helpers.shop_jobs import installed as installed  # noqa: PLC0414  a fixture
