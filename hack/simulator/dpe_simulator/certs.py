# SPDX-License-Identifier: Apache-2.0
"""Certificates for demo and tests, made by openssl: an own authority and server certificates."""

import base64
import ipaddress
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_CURVE = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")


class CertificateTrouble(Exception):
    """openssl is missing or refused."""


@dataclass(frozen=True)
class ServerNames:
    """What a server certificate is for: DNS names and IP addresses, at least one of them."""

    dns: Sequence[str]
    ips: Sequence[str]

    def alternative_names(self) -> str:
        """The subjectAltName of the certificate.

        Raises:
            CertificateTrouble: when there is no name at all, or an address is none.
        """
        try:
            addresses = [str(ipaddress.ip_address(ip)) for ip in self.ips]
        except ValueError as problem:
            raise CertificateTrouble(f"--ip: {problem}") from problem
        names = [f"DNS:{name}" for name in self.dns] + [f"IP:{address}" for address in addresses]
        if not names:
            raise CertificateTrouble("give at least one --dns or --ip")
        return ",".join(names)


def make_certificates(folder: Path, names: ServerNames, *, days: int) -> None:
    """Write ca.crt, ca.key, tls.crt and tls.key into a folder.

    An authority that is there is used again, so a second call renews the server certificate.

    Raises:
        CertificateTrouble: when openssl is missing or refuses; says what it said.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    alternative = names.alternative_names()
    if not (folder / "ca.key").exists():
        _openssl(folder, "genpkey", *_CURVE, "-out", "ca.key")
        _openssl(
            folder, "req", "-x509", "-new", "-key", "ca.key", "-out", "ca.crt", "-days", "3650",
            "-subj", "/CN=DPE simulator CA", "-addext", "basicConstraints=critical,CA:TRUE",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip
    _openssl(folder, "genpkey", *_CURVE, "-out", "tls.key")
    common = (list(names.dns) + list(names.ips))[0][:64]
    _openssl(folder, "req", "-new", "-key", "tls.key", "-out", "tls.csr", "-subj", f"/CN={common}")
    extensions = (
        f"subjectAltName={alternative}\nbasicConstraints=critical,CA:FALSE\n"
        "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n"
    )
    (folder / "tls.ext").write_text(extensions, encoding="ascii")
    _openssl(
        folder, "x509", "-req", "-in", "tls.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
        "-CAcreateserial", "-days", str(days), "-extfile", "tls.ext", "-out", "tls.crt",
    )  # fmt: skip
    for name in ("tls.csr", "tls.ext", "ca.srl"):
        (folder / name).unlink(missing_ok=True)


def secret_yaml(folder: Path, *, name: str, namespace: str | None) -> str:
    """Return a Secret (kubernetes.io/tls) with tls.crt, tls.key and ca.crt, for kubectl apply."""
    lines = ["apiVersion: v1", "kind: Secret", "metadata:", f"  name: {name}"]
    if namespace:
        lines.append(f"  namespace: {namespace}")
    lines += ["type: kubernetes.io/tls", "data:"]
    for key in ("ca.crt", "tls.crt", "tls.key"):
        lines.append(f"  {key}: {base64.b64encode((folder / key).read_bytes()).decode()}")
    return "\n".join(lines) + "\n"


def _openssl(folder: Path, *arguments: str) -> None:
    try:
        done = subprocess.run(
            ["openssl", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            umask=0o077,
        )
    except FileNotFoundError as problem:
        raise CertificateTrouble(
            "openssl is not installed; on Debian/Ubuntu: apt-get install openssl"
        ) from problem
    if done.returncode:
        raise CertificateTrouble(f"openssl {arguments[0]}: {done.stderr.strip()}")
