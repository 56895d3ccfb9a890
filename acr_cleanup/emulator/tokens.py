"""Signed JSON web tokens for the emulated services: HS256 with one secret per emulator."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from typing import Any


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def read_claims(token: str) -> dict[str, Any] | None:
    """Return the claims of a token **without** any check, or None if it cannot be decoded."""
    try:
        claims = json.loads(_decode(token.split(".")[1]))
    except (IndexError, ValueError):
        return None
    return claims if isinstance(claims, dict) else None


class TokenSigner:
    """
    Issue tokens and verify them. Times are real times, because clients compare `exp` with the
    clock.

    `issued`: all tokens, so that a test can search logs and files for them.
    """

    def __init__(self) -> None:
        self.issued: list[str] = []
        self._secret = secrets.token_bytes(32)

    def sign(self, claims: dict[str, Any], lifetime: float) -> str:
        """Return a token with these claims that expires after `lifetime` seconds."""
        now = int(time.time())
        body = {"iat": now, "nbf": now, "exp": int(now + lifetime), **claims}
        parts = ({"typ": "JWT", "alg": "HS256", "kid": "emulator"}, body)
        text = ".".join(_encode(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
        token = f"{text}.{self._signature(text)}"
        self.issued.append(token)
        return token

    def verify(self, token: str) -> dict[str, Any] | None:
        """
        Return the claims of a token that this signer issued and that has not expired, else None.
        """
        text, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(text).encode()):
            return None
        claims = read_claims(token)
        return claims if claims is not None and claims["exp"] > time.time() else None

    def _signature(self, text: str) -> str:
        return _encode(hmac.new(self._secret, text.encode(), hashlib.sha256).digest())
