# SPDX-License-Identifier: Apache-2.0
"""Two simulated DPE Servers and their database in plain containers, outside the cluster but on its network."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

PREFIX = "dpe-e2e-outside"
PORT = 8443


class OutsideServers:
    """Starts, kills and removes the containers; their addresses are those of the test cluster's network."""

    def __init__(self, images: Mapping[str, str], certificates: Path) -> None:
        self._images = images
        self.certificates = certificates
        self.addresses: dict[str, str] = {}

    def up(self) -> None:
        """Start the database and both servers."""
        self.down()
        for file in self.certificates.iterdir():
            file.chmod(0o644)  # read by the containers' own user; the key is worth nothing
        self.certificates.chmod(0o755)
        _docker(
            "run", "-d", "--name", f"{PREFIX}-db", "--network", "kind",
            "--tmpfs", "/var/lib/dpe-postgres:uid=65532", "--tmpfs", "/run/postgresql:uid=65532",
            "-e", "POSTGRES_PASSWORD=e2e-only", self._images["dpe-postgres"],
        )  # fmt: skip
        database = self._address(f"{PREFIX}-db")
        for name in ("a", "b"):
            _docker(
                "run", "-d", "--name", f"{PREFIX}-{name}", "--network", "kind",
                "-v", f"{self.certificates}:/etc/dpe-tls:ro",
                "-e", f"PGHOST={database}", "-e", "PGUSER=dpe", "-e", "PGDATABASE=dpecore",
                "-e", "PGPASSWORD=e2e-only", "-e", f"DPE_MEMBER={name}", "-e", f"DPE_PORT={PORT}",
                "-e", "DPE_TLS_CERT=/etc/dpe-tls/tls.crt", "-e", "DPE_TLS_KEY=/etc/dpe-tls/tls.key",
                self._images["dpe-simulator"], "server",
            )  # fmt: skip
            self.addresses[name] = f"{self._address(f'{PREFIX}-{name}')}:{PORT}"

    def kill(self, name: str) -> None:
        """Cut a server's power."""
        _docker("kill", f"{PREFIX}-{name}")

    def start(self, name: str) -> None:
        """Switch it on again, at the address it had."""
        _docker("start", f"{PREFIX}-{name}")
        assert f"{self._address(f'{PREFIX}-{name}')}:{PORT}" == self.addresses[name]

    def down(self) -> None:
        """Remove what is there, also from a killed run."""
        names = [f"{PREFIX}-{part}" for part in ("db", "a", "b")]
        subprocess.run(["docker", "rm", "-f", *names], capture_output=True, check=False)

    @staticmethod
    def _address(name: str) -> str:
        for _ in range(50):
            networks = json.loads(_docker("inspect", name))[0]["NetworkSettings"]["Networks"]
            if address := networks["kind"]["IPAddress"]:
                return str(address)
            time.sleep(0.1)
        raise AssertionError(f"container {name} has no address")


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout
