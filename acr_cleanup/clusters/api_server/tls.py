"""The TLS context for an API server, from the certificates of a kubeconfig; and what its failures mean."""

from __future__ import annotations

import base64
import binascii
import os
import re
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from acr_cleanup.clusters.api_server.kubeconfig_file import failure
from acr_cleanup.clusters.api_server.trust import LoadContext, Trust
from acr_cleanup.quoting import quoted

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_OWN_FILES = Path("/proc/self/fd")
_BEHIND_A_PROXY = (
    "Behind a proxy that inspects TLS, add the proxy's CA to the file that SSL_CERT_FILE or REQUESTS_CA_BUNDLE names."
)


def tls_contexts(
    cluster: Mapping[str, Any], user: Mapping[str, Any], folder: Path, trust: Trust
) -> tuple[ssl.SSLContext, tuple[LoadContext, ...]]:
    """
    Return the first context to use, and those for a certificate that it does not trust. Raises
    `ReadFailure`.

    folder: where relative paths start. trust: the further authorities of the environment.
    """
    try:
        authority = _material(cluster, "certificate-authority", folder)
        certificate = _material(user, "client-certificate", folder)
        key = _material(user, "client-key", folder)
        insecure = cluster.get("insecure-skip-tls-verify") is True

        def change(context: ssl.SSLContext) -> None:
            if insecure:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if certificate is not None:
                _load_certificate(context, certificate, key or certificate)

        own = partial(_trusting, authority) if authority is not None else None
        first, *fallbacks = trust.contexts(own, change if insecure or certificate is not None else None)
        return first(), tuple(fallbacks)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise failure(f"its certificates cannot be used ({quoted(error)}).") from error


def _load_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    if b"PRIVATE KEY-----" not in key:
        raise ValueError("a client certificate without its client-key")
    if b"ENCRYPTED" in key:
        # OpenSSL would ask for the password on the terminal.
        raise ValueError("the client-key is encrypted")
    with _files(certificate, key) as (certificate_file, key_file):
        context.load_cert_chain(certificate_file, key_file)


def _trusting(authority: bytes) -> ssl.SSLContext:
    """
    Return a context that trusts these certificates alone.

    As in kubectl, other text and other objects of the file do not count, and one good certificate is enough.
    """
    try:
        return ssl.create_default_context(cadata=authority.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError):
        pass  # one certificate may be broken, or a comment may not be ASCII
    good: list[str] = []
    problem: ssl.SSLError | None = None
    for block in _CERTIFICATE.findall(authority):
        certificate = block.decode("ascii", "ignore")
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificate)
            good.append(certificate)
        except ssl.SSLError as error:
            problem = error
    if not good:
        raise problem or ValueError("the certificate-authority has no certificate in PEM format")
    return ssl.create_default_context(cadata="\n".join(good))


def _material(section: Mapping[str, Any], key: str, folder: Path) -> bytes | None:
    """Decode `<key>-data`, or read the file that `<key>` names."""
    data, path = section.get(f"{key}-data"), section.get(key)
    if data:
        try:
            # Wrapped lines are allowed, as in Go.
            return base64.b64decode("".join(str(data).split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"{key}-data is not base64") from error
    return (folder / str(path)).read_bytes() if path else None


@contextmanager
def _files(certificate: bytes, key: bytes) -> Iterator[tuple[str, str]]:
    """
    Write both to private files, deleted with the context: OpenSSL loads a key only from a file.

    Linux keeps them in memory. On a disk, they took ten milliseconds for each cluster.
    """
    with ExitStack() as opened:
        if hasattr(os, "memfd_create") and _OWN_FILES.is_dir():
            files = [opened.enter_context(os.fdopen(os.memfd_create("acr-cleanup"), "wb", 0)) for _ in range(2)]
            paths = [_OWN_FILES / str(file.fileno()) for file in files]
        else:
            private = opened.enter_context(tempfile.TemporaryDirectory(prefix="acr-cleanup-"))
            paths = [Path(private, name) for name in ("certificate.pem", "key.pem")]
        for path, content in zip(paths, (certificate, key), strict=True):
            path.touch(mode=0o600)
            path.write_bytes(content)
        yield str(paths[0]), str(paths[1])


_EXPIRED, _NOT_YET, _NAMES = 10, 9, (62, 63, 64)
_UNKNOWN = (2, 18, 19, 20, 21)


def explain_certificate(error: object, *, has_authority: bool, tls_server_name: str | None) -> tuple[str, str]:
    """
    Return what is wrong with the certificate of an API server, and the remedy, by the code of OpenSSL.

    https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
    has_authority: does the kubeconfig name a CA?
    """
    code = getattr(error, "verify_code", 0)
    text = quoted(getattr(error, "verify_message", "") or error)
    if code in _NAMES:
        wrong = f"tls-server-name {quoted(tls_server_name)}" if tls_server_name else "the host of `server`"
        return f"the API server's certificate does not name {wrong} ({text}).", (
            f"Correct {'tls-server-name' if tls_server_name else '`server`, or set tls-server-name'} to a name in the "
            "certificate."
        )
    if code == _EXPIRED:
        return f"the API server's certificate has expired ({text}).", (
            "Renew it (for AKS: `az aks rotate-certs`), or correct the clock of this machine."
        )
    if code == _NOT_YET:
        return f"the API server's certificate is not valid yet ({text}).", "Correct the clock of this machine."
    seen = f"the API server's certificate is not trusted ({text})."
    if code in _UNKNOWN and has_authority:
        return seen, (
            "It is not signed by the certificate-authority of the kubeconfig. Get the kubeconfig again: the CA may have been "
            f"renewed. {_BEHIND_A_PROXY}"
        )
    if code in _UNKNOWN:
        return seen, (
            "The kubeconfig names no certificate-authority, and no CA of this machine signed it. Add "
            f"certificate-authority-data to its cluster. {_BEHIND_A_PROXY}"
        )
    return seen, _BEHIND_A_PROXY
