"""The error answers of the resource manager."""

from __future__ import annotations

from acr_cleanup.emulator.arm_shapes import JSON


class ArmError(Exception):
    """
    An error answer.

    `flat`: the form of AKS, without the envelope of the resource manager.
    """

    def __init__(
        self, status: int, code: str, message: str, *, flat: bool = False, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        error: JSON = {"code": code, "message": message}
        self.body = {**error, "details": None, "subcode": ""} if flat else {"error": error}
