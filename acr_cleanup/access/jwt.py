"""Reads what a JSON web token says of itself; whether it is true is for whoever receives it. https://www.rfc-editor.org/rfc/rfc7519"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any


def claims_of(token: str) -> Mapping[str, Any]:
    """
    What a JSON web token says of itself, unchecked; nothing for a token that is none.

    The alphabet of these tokens is the URL-safe one, which the SDK forgets.

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
