# SPDX-License-Identifier: Apache-2.0
"""A real API server with its etcd on loopback: no kubelet, no controllers, ready in seconds.

Fakes know nothing of server-side apply, pruning, CEL, RBAC and resourceVersions, so everything that
depends on them is tested here. Missing on purpose: the controller manager (nothing fills
Deployments, deletes by ownerReference or ends a Namespace) and the admission plugin ServiceAccount
(it would refuse pods until a controller has made the default account).
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
_PREFIX = "dpe-api-server-"
_START_SECONDS = 60.0
# The child dies with its parent, however that ends: a killed test run leaves nothing running.
_DIES_WITH_PARENT = (
    "import ctypes,os,sys;ctypes.CDLL(None).prctl(1,9);"
    "os.getppid()==int(sys.argv[1]) or os._exit(1);os.execv(sys.argv[2],sys.argv[2:])"
)
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
        {"level": "None"},
    ],
}


class ApiServerFailed(Exception):
    """The API server did not start; the message ends with its last log lines."""


@functools.cache
def tools() -> Path:
    """Folder with kubectl, etcd and kube-apiserver, built when they are not there yet."""
    command = [str(ROOT / "hack/tools/build"), "etcd", "kube-apiserver", "kubectl"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Path(done.stdout.strip())


def _remove_leftovers() -> None:
    """Delete folders of runs that were killed; their processes died with them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).split("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(folder, ignore_errors=True)


class ApiServer:
    """One etcd and one kube-apiserver, with RBAC and an administrator.

    Attributes for clients: `url`, `ca_file`, `token_file` (administrator), `token`, `kubeconfig`,
    `audit_log` (None unless asked for). `stop()` and `start()` keep port and data, for tests of an
    outage; `pause()` freezes it. Call `close()` at the end.
    """

    def __init__(
        self,
        *,
        audit: bool = False,
        users: Mapping[str, Sequence[str]] | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        """Prepare keys and tokens.

        `users` are further users with their groups; their tokens are in `tokens[name]`. `flags` go
        to kube-apiserver as they are.
        """
        _remove_leftovers()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self.tokens = {name: secrets.token_hex(16) for name in ("admin", *(users or {}))}
        self.token = self.tokens["admin"]
        self.ca_file = self.folder / "tls.crt"
        self.token_file = self.folder / "admin.token"
        self.kubeconfig = self.folder / "kubeconfig"
        self.audit_log = self.folder / "audit.log" if audit else None
        self._flags = list(flags)
        self._port = free_port()
        self._etcd_port = free_port()
        self._etcd: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._write_files(users or {})
        self._tls = ssl.create_default_context(cafile=str(self.ca_file))

    @property
    def url(self) -> str:
        """Address of the API server."""
        return f"https://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        """Process id of kube-apiserver while it runs, to count its sockets or memory."""
        return self._server.pid if self._server else None

    def start(self) -> ApiServer:
        """Start both processes and wait until the server is ready. A running one is left alone."""
        if self._etcd is None:
            self._start_etcd()
        if self._server is None:
            self.spawn()
            self.wait_ready()
        return self

    def spawn(self) -> None:
        """Start the server again after `stop`, and do not wait: it dies with the calling thread."""
        self._server = self._spawn(self._server_command(), "kube-apiserver.log")

    def stop(self) -> None:
        """Stop the API server at once, as a crash does; etcd and the data stay."""
        _kill(self._server)
        self._server = None

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Freeze the API server: connections stay open and nothing is answered."""
        assert self._server is not None, "the API server does not run"
        self._server.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._server.pid, os.WSTOPPED)
        try:
            yield
        finally:
            self._server.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop everything and delete the data."""
        self.stop()
        _kill(self._etcd)
        self._etcd = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> ApiServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- use

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        token: str | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """Send one request as the administrator (or with `token`); return status and answer."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self._port, timeout=15, context=self._tls
        )
        headers = {
            "Authorization": f"Bearer {token or self.token}",
            "Content-Type": content_type,
            "Accept": accept,
        }
        try:
            # written out in UTF-8: server-side apply reads YAML, which knows no surrogate escapes
            payload = None if body is None else json.dumps(body, ensure_ascii=False).encode()
            connection.request(method, path, payload, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, {"message": text.decode(errors="replace")}

    def kubectl(
        self, *arguments: str, text: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run our own kubectl as the administrator; `text` goes to its standard input."""
        fixed = ("--kubeconfig", str(self.kubeconfig), "--cache-dir", str(self.folder / "cache"))
        command = [str(tools() / "kubectl"), *fixed, *arguments]
        done = subprocess.run(
            command, input=text, text=True, capture_output=True, timeout=60, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done

    def create_namespace(self, prefix: str = "test") -> str:
        """Create a namespace with a name of its own; return the name."""
        name = f"{prefix}-{secrets.token_hex(4)}"
        status, answer = self.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        assert status == 201, answer
        return name

    def service_account_token(self, namespace: str, name: str) -> str:
        """Return a token for a service account, which is created when it is not there."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        self.request("POST", path, {"metadata": {"name": name}})
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        status, answer = self.request("POST", f"{path}/{name}/token", body)
        assert status == 201, answer
        return str(answer["status"]["token"])

    def install_crds(self, folder: Path = ROOT / "crds") -> None:
        """Apply the CRDs in `folder` and wait until the server serves and announces them."""
        self.kubectl("apply", "--server-side", "-f", str(folder))
        self.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(folder))
        wanted = {path.name.split(".")[0] for path in folder.glob("*.yaml")}
        deadline = time.monotonic() + 30
        while wanted - self._announced():
            assert time.monotonic() < deadline, f"not announced: {wanted - self._announced()}"
            time.sleep(0.05)
        # kubectl still remembers the time before
        shutil.rmtree(self.folder / "cache", ignore_errors=True)

    def _announced(self) -> set[str]:
        """Plural names of the resources in discovery, which lags behind `Established`."""
        accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        _, answer = self.request("GET", "/apis", accept=accept)
        return {
            resource["resource"]
            for group in answer["items"]
            for version in group["versions"]
            for resource in version.get("resources", ())
        }

    def apply(
        self, namespace: str, resource: Mapping[str, Any], *, subresource: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """Apply a resource of ours server-side as manager `test`; return status and answer."""
        plural = f"{resource['kind'].lower()}s"
        path = f"/apis/{resource['apiVersion']}/namespaces/{namespace}/{plural}"
        return self.request(
            "PATCH",
            f"{path}/{resource['metadata']['name']}{subresource}?fieldManager=test&force=true",
            resource,
            content_type="application/apply-patch+yaml",
        )

    def audited_writes(self) -> list[dict[str, Any]]:
        """Return the audit records of all writes so far; needs `audit=True`."""
        assert self.audit_log is not None, "this API server was made without audit=True"
        if not self.audit_log.exists():
            return []
        return [json.loads(line) for line in self.audit_log.read_text().splitlines()]

    # --- making of

    def _write_files(self, users: Mapping[str, Sequence[str]]) -> None:
        groups = {"admin": ["system:masters"]} | {name: list(users[name]) for name in users}
        (self.folder / "tokens.csv").write_text(
            "".join(
                f'{token},{name},{name},"{",".join(groups[name])}"\n'
                for name, token in self.tokens.items()
            )
        )
        self.token_file.write_text(self.token)
        (self.folder / "audit.json").write_text(json.dumps(_AUDIT_POLICY))
        _make_key(self.folder / "service-accounts.key")
        _make_certificate(self.folder / "tls.key", self.ca_file)
        self.kubeconfig.write_text(json.dumps(self._kubeconfig()))

    def _kubeconfig(self) -> dict[str, Any]:
        cluster = {"server": self.url, "certificate-authority": str(self.ca_file)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": self.token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        }

    def _start_etcd(self) -> None:
        url = f"http://127.0.0.1:{self._etcd_port}"
        peer = f"http://127.0.0.1:{free_port()}"
        options = {
            "data-dir": self.folder / "etcd",
            "listen-client-urls": url,
            "advertise-client-urls": url,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            # one node that elects itself: the default second of waiting is for nobody
            "heartbeat-interval": "10",
            "election-timeout": "50",
        }
        command = [str(tools() / "etcd"), "--unsafe-no-fsync", "--log-level=error"]
        command += [f"--{name}={value}" for name, value in options.items()]
        self._etcd = self._spawn(command, "etcd.log")

    def _server_command(self) -> list[str]:
        key = self.folder / "service-accounts.key"
        options = {
            "etcd-servers": f"http://127.0.0.1:{self._etcd_port}",
            "secure-port": self._port,
            "bind-address": "127.0.0.1",
            "endpoint-reconciler-type": "none",
            "tls-cert-file": self.ca_file,
            "tls-private-key-file": self.folder / "tls.key",
            "token-auth-file": self.folder / "tokens.csv",
            "authorization-mode": "RBAC",
            "disable-admission-plugins": "ServiceAccount",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": key,
            "service-account-signing-key-file": key,
            "service-cluster-ip-range": "10.96.0.0/16",
            "request-timeout": "10s",
            "shutdown-delay-duration": "0s",
            "enable-priority-and-fairness": "false",
            "profiling": "false",
        }
        if self.audit_log:
            options |= {
                "audit-policy-file": self.folder / "audit.json",
                "audit-log-path": self.audit_log,
                "audit-log-mode": "blocking",
            }
        command = [str(tools() / "kube-apiserver")]
        return command + [f"--{name}={value}" for name, value in options.items()] + self._flags

    def _spawn(self, command: list[str], log: str) -> subprocess.Popen[bytes]:
        wrapper = [sys.executable, "-ISc", _DIES_WITH_PARENT, str(os.getpid())]
        with (self.folder / log).open("ab") as output:
            return subprocess.Popen(
                wrapper + command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def wait_ready(self) -> None:
        """Wait until the server answers; raises ApiServerFailed when it ends or takes too long."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            assert self._server is not None
            if self._server.poll() is not None:
                raise ApiServerFailed(f"kube-apiserver ended: {self._last_lines()}")
            try:
                if self.request("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise ApiServerFailed(f"not ready within {_START_SECONDS:.0f} s: {self._last_lines()}")

    def _last_lines(self) -> str:
        return "\n".join((self.folder / "kube-apiserver.log").read_text().splitlines()[-15:])


def _kill(process: subprocess.Popen[bytes] | None) -> None:
    if process is not None:
        process.kill()
        process.wait()


def _make_key(path: Path) -> None:
    command = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)


def _make_certificate(key: Path, certificate: Path) -> None:
    """Make a certificate that is its own authority, good for 127.0.0.1."""
    _make_key(key)
    extensions = (
        "subjectAltName=IP:127.0.0.1,DNS:localhost",
        "basicConstraints=critical,CA:TRUE",
        "keyUsage=critical,digitalSignature,keyCertSign",
    )
    command = ["openssl", "req", "-x509", "-key", str(key), "-out", str(certificate)]
    command += ["-days", "7", "-subj", "/CN=dpe-test-api-server", "-config", "/dev/null"]
    for extension in extensions:
        command += ["-addext", extension]
    subprocess.run(command, check=True, capture_output=True)
