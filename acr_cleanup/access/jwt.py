"""
Read the claims of a JSON web token without verifying them. https://www.rfc-editor.org/rfc/rfc7519
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any


def claims_of(token: str) -> Mapping[str, Any]:
    """
    Return the claims of a JSON web token, unverified. Other texts have no claims.

    These tokens use the URL-safe alphabet of base64, which the SDK does not decode.

    >>> claims_of("opaque")
    {}
    """
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
