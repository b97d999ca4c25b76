"""A certificate authority for the life of a test, with a server's and a client's certificate."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Certificates:
    """Files in PEM: the authority, a server on loopback, and a client it would accept."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path
    stranger_ca: Path
    """An authority that has signed none of them: to see that verification happens."""


def make_certificates(folder: Path) -> Certificates:
    """Write them to the folder; they are valid for two days."""
    folder.mkdir(parents=True, exist_ok=True)
    ca, ca_key = _authority(folder, "ca")
    stranger, _ = _authority(folder, "stranger")
    server, server_key = _signed(folder, "server", ca, ca_key)
    client, client_key = _signed(folder, "client", ca, ca_key)
    return Certificates(ca, server, server_key, client, client_key, stranger)


def _authority(folder: Path, name: str) -> tuple[Path, Path]:
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    _openssl(
        *("req", "-x509", "-days", "2", *_new_key(key), "-subj", f"/CN=redis-baton test {name}"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", str(certificate)),
    )
    return certificate, key


def _signed(folder: Path, name: str, ca: Path, ca_key: Path) -> tuple[Path, Path]:
    certificate, key, request = (folder / f"{name}.{end}" for end in ("crt", "key", "csr"))
    extensions = folder / f"{name}.ext"
    # A server that replicates is a client too, with the same certificate.
    extensions.write_text(
        "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\nextendedKeyUsage=serverAuth,clientAuth\n"
        "basicConstraints=CA:FALSE\n"
    )
    _openssl("req", *_new_key(key), "-subj", f"/CN={name}", "-out", str(request))
    _openssl(
        *("x509", "-req", "-in", str(request), "-CA", str(ca), "-CAkey", str(ca_key)),
        *("-CAcreateserial", "-days", "2", "-extfile", str(extensions), "-out", str(certificate)),
    )
    return certificate, key


def _new_key(key: Path) -> tuple[str, ...]:
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    return (*curve, "-nodes", "-keyout", str(key))


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr.strip()}")
