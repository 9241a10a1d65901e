# SPDX-License-Identifier: Apache-2.0
"""What a fail-over site on loopback is made of: certificates and DPE Servers."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
_T = TypeVar("_T")


def until(look: Callable[[], _T], seconds: float, what: str) -> _T:
    """The first true answer of `look`; AssertionError with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


class Pki:
    """An authority, the members' certificate (`dpe.test`) and the site's."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.ca = folder / "ca.crt"
        self.site = folder / "tls.crt"
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        authority = ["-addext", "keyUsage=critical,keyCertSign", "-config", "/dev/null"]
        _openssl("req", "-x509", *key, "-keyout", str(folder / "ca.key"), "-out", str(self.ca),
                 "-days", "7", "-subj", f"/CN={name}",
                 "-addext", "basicConstraints=critical,CA:TRUE", *authority)  # fmt: skip
        self.sign("member", "dpe.test", 1)
        self.member = folder / "member.pem"
        parts = [(folder / f"member.{end}").read_text() for end in ("crt", "key")]
        self.member.write_text("".join(parts))
        self.sign("tls", "dpe.test", 2)

    def sign(self, name: str, host: str, serial: int) -> None:
        """Make `NAME.crt` and `NAME.key`; both change at once for who follows the links."""
        made = self.folder / f"{name}-{serial}"
        made.mkdir()
        request = made / "request"
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        _openssl("req", *key, "-keyout", str(made / f"{name}.key"), "-out", str(request),
                 "-subj", f"/CN={host}", "-config", "/dev/null")  # fmt: skip
        extensions = made / "extensions"
        extensions.write_text(f"subjectAltName=DNS:{host},DNS:localhost,IP:127.0.0.1\n")
        _openssl("x509", "-req", "-in", str(request), "-CA", str(self.ca),
                 "-CAkey", str(self.folder / "ca.key"), "-set_serial", str(serial), "-days", "7",
                 "-extfile", str(extensions), "-out", str(made / f"{name}.crt"))  # fmt: skip
        # as kubelet mounts a Secret: NAME.crt -> ..data/NAME.crt, ..data -> a folder, swapped whole
        data = self.folder / f"..{name}"
        fresh = self.folder / f"..{name}-new"
        fresh.symlink_to(made.name)
        fresh.replace(data)
        for end in ("crt", "key"):
            link = self.folder / f"{name}.{end}"
            if not link.is_symlink():
                link.symlink_to(f"{data.name}/{name}.{end}")

    def client_context(self) -> ssl.SSLContext:
        """What a careful client trusts."""
        context = ssl.create_default_context(cafile=str(self.ca))
        return context


class Member:
    """One DPE Server process."""

    def __init__(self, name: str, folder: Path, certificate: Path | None) -> None:
        self.name = name
        self.port = free_port()
        self._sick = folder / f"{name}.sick"
        self._certificate = "-" if certificate is None else str(certificate)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it runs, and wait until it listens."""
        if self._process is None or self._process.poll() is not None:
            script = str(ROOT / "tests/support/balancer_member.py")
            command = [sys.executable, "-I", script, self.name, str(self.port), self._certificate]
            self._process = subprocess.Popen([*command, str(self._sick)], stdin=subprocess.PIPE)
        self.thaw()
        self.heal()
        until(self._listens, 10, f"member {self.name} listens")

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdin is not None
            self._process.stdin.close()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def sicken(self) -> None:
        """The health page's text changes, its status does not."""
        self._sick.touch()

    def heal(self) -> None:
        """The health page is right and in time again, all packets arrive, it listens."""
        self._sick.unlink(missing_ok=True)
        self._order("late 0")
        self._order("lose 0")
        self._order("refuse 0")

    def refuse(self) -> None:
        """Nothing listens on its port any more; its process runs, open connections go on."""
        self._order("refuse 1")

    def be_late(self, seconds: float, times: int | None = None) -> None:
        """The health page takes `seconds`, so often (default: until it is healed)."""
        self._order(f"late {seconds}" if times is None else f"late {seconds} {times}")

    def lose_packets(self, fraction: float) -> None:
        """Of the packets to it this part never arrives; 1: nothing does, connections stay open."""
        self._order(f"lose {fraction}")

    def lose_dials(self, seconds: float) -> None:
        """From its next health check on, and for `seconds`, attempts to connect are lost.

        Returns when that begins.
        """
        self._order(f"lose-dial {seconds}")
        marker = self._sick.with_name(self._sick.name + ".dial")
        until(marker.exists, 10, f"{self.name} was asked how it is")

    def _order(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()
