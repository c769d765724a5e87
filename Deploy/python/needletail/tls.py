"""How a client encrypts."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from dataclasses import dataclass

import grpc


@dataclass(frozen=True)
class TLS:
    """Files in PEM: the authority of the cluster's certificates, else those of the system, and a certificate to show, with its key. `server_name` is the
    name in the cluster's certificate when it is not the host's. What is left out is taken from NEEDLETAIL_TLS_AUTHORITY and so on."""

    authority: str | None = None
    server_name: str | None = None
    certificate: str | None = None
    key: str | None = None

    def completed(self) -> TLS:
        return TLS(**{one.name: getattr(self, one.name) or os.environ.get(f"NEEDLETAIL_TLS_{one.name.upper()}") or None for one in dataclasses.fields(self)})


def tls_of(endpoint: str, tls: TLS | None) -> tuple[str, grpc.ChannelCredentials | None, list[tuple[str, str]]]:
    """The address without its scheme, credentials for it or None, and options of the channel."""
    known = (tls or TLS()).completed()
    is_encrypted = known != TLS() or tls is not None
    for scheme in ("https://", "http://"):
        if endpoint.startswith(scheme):
            endpoint, is_encrypted = endpoint[len(scheme):].rstrip("/"), scheme == "https://"
    if not is_encrypted:
        return endpoint, None, []
    if (known.certificate is None) != (known.key is None):
        raise ValueError("a certificate and its key go together; give both or none")

    def read(path: str | None) -> bytes | None:
        return pathlib.Path(path).read_bytes() if path else None

    credentials = grpc.ssl_channel_credentials(read(known.authority), read(known.key), read(known.certificate))
    return endpoint, credentials, [("grpc.ssl_target_name_override", known.server_name)] if known.server_name else []
