# SPDX-License-Identifier: Apache-2.0
"""From nothing to a running site: cluster, images, operator, database, DpeCluster, a client."""

from __future__ import annotations

import base64
import json
import os
import secrets
import string
import subprocess
from pathlib import Path
from typing import Any

from dpe_demo import client
from dpe_demo.progress import DemoError, Progress
from dpe_demo.tools import (
    RELEASE,
    ROOT,
    STUDIO,
    SYSTEM,
    Kube,
    columns,
    hack,
    image_tags,
    output,
    wait_for,
)
from dpe_demo.volumes import make_volumes

CLUSTER = "radio"
MANIFESTS = ROOT / "manifests/demo"
POSTGRES = ROOT / "hack/simulator/manifests/postgres.yaml"
NAMES = [f"{CLUSTER}-balancer.{STUDIO}.svc", f"{CLUSTER}-balancer.{STUDIO}.svc.cluster.local"]
LOGS = f"kubectl logs -n {SYSTEM} -l app.kubernetes.io/instance={RELEASE} --tail=50"


def up() -> None:
    """Bring the demo up, or bring what is there up to date, and show it."""
    progress = Progress(9)
    with progress.step("Cluster: one control plane, three nodes in three zones", noisy=True):
        hack("cluster", "up", cure="its last lines say what is missing; then 'make demo' again")
    with progress.step(
        "Images: built where their sources changed, loaded into the nodes", noisy=True
    ):
        hack("images", "load", cure="its last lines say why; then 'make demo' again")
    tags, kube = image_tags(), Kube()
    with progress.step(f"Namespace {STUDIO} (pod security: restricted) and its certificates"):
        kube.apply((MANIFESTS / "namespace.yaml").read_text())
        make_certificates(kube)
    with progress.step("PostgreSQL, in place of DPE's databases"):
        install_database(kube, tags)
    with progress.step("Shared volumes, in place of a file server"):
        make_volumes(kube)
    with progress.step(f"Operator: helm upgrade --install {RELEASE}"):
        install_operator(kube, tags)
    with progress.step(
        f"DpeCluster {CLUSTER}: servers, balancers, farms, workflow system, PAR files"
    ):
        image = local_image("dpe-simulator", tags)
        kube.apply(filled(MANIFESTS / "radio.yaml", {"IMAGE_SIMULATOR": image}))
    with progress.step("Wait until it is Ready"):
        wait_until_ready(kube, seconds=300, balancer=local_image("dpe-balancer", tags))
    with progress.step("Requests of a client through the balancer"):
        seen = client.run(kube, client.Load(connections=10, seconds=4), tags=tags)
    if seen["failedAfterRetries"] or not seen["succeeded"]:
        raise DemoError(
            f"{seen['failedAfterRetries']} of {seen['requests']} requests failed",
            cure=f"kubectl describe dpe {CLUSTER} -n {STUDIO}",
        )
    print(overview(kube, seen))
    print(f"Up after {progress.seconds:.0f} s.")


def local_image(name: str, tags: dict[str, str]) -> str:
    """Return the name under which hack/images keeps an image on this machine."""
    return f"localhost/dpe/{name}:{tags[name]}"


def cache() -> Path:
    """Return the folder where this project keeps what is slow to make."""
    home = os.environ.get("XDG_CACHE_HOME") or f"{Path.home()}/.cache"
    return Path(os.environ.get("DPE_CACHE") or f"{home}/dpe-operator")


def make_certificates(kube: Kube) -> None:
    """Make the station's authority and the servers' certificate, unless the namespace has them."""
    if kube.get("secret", "dpe-server-tls", "-n", STUDIO) and kube.get(
        "secret", "studio-ca", "-n", STUDIO
    ):
        return
    folder = cache() / "demo-certificates"
    python = output(ROOT / "hack/venv", cure="see what hack/venv says").strip() + "/bin/python"
    command = [python, "-m", "dpe_simulator", "certs", "--out", str(folder)]
    command += [part for name in NAMES for part in ("--dns", name)]
    command += ["--secret-yaml", "dpe-server-tls", "--namespace", STUDIO]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/hack/simulator:{ROOT}/operator"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoError(done.stderr.strip(), cure="apt-get install openssl, then again")
    authority = base64.b64encode((folder / "ca.crt").read_bytes()).decode()
    ca = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "studio-ca", "namespace": STUDIO},
        "data": {"ca.crt": authority},
    }
    kube.apply(done.stdout + "---\n" + json.dumps(ca))


def filled(path: Path, values: dict[str, str]) -> str:
    """Return a manifest with its placeholders, such as ${NAMESPACE}, filled in."""
    return string.Template(path.read_text()).substitute(values)


def install_database(kube: Kube, tags: dict[str, str]) -> None:
    """Apply the PostgreSQL of the simulator and wait for it."""
    known = kube.get("secret", "dpe-postgres", "-n", STUDIO).get("data", {}).get("password", "")
    values = {
        "IMAGE_POSTGRES": local_image("dpe-postgres", tags),
        "NAMESPACE": STUDIO,
        "POSTGRES_PASSWORD": base64.b64decode(known).decode() or secrets.token_hex(12),
    }
    kube.apply(filled(POSTGRES, values))
    kube.kubectl(
        *("rollout", "status", "deployment/dpe-postgres", "-n", STUDIO, "--timeout=120s"),
        cure=f"kubectl get events -n {STUDIO}; kubectl logs -n {STUDIO} deploy/dpe-postgres",
    )


def install_operator(kube: Kube, tags: dict[str, str]) -> None:
    """Install or upgrade the chart with the images of this source tree, and wait for its pods."""
    values = {
        "image.registry": "localhost/dpe",
        "image.operator.tag": tags["dpe-operator"],
        "image.balancer.tag": tags["dpe-balancer"],
        "image.elector.tag": tags["dpe-elector"],
        "image.parSync.tag": tags["dpe-par-sync"],
        "operator.logFormat": "plain",
        "watch.namespaces[0]": STUDIO,
    }
    pairs = [part for key, value in values.items() for part in ("--set-string", f"{key}={value}")]
    kube.helm(
        *(
            "upgrade",
            "--install",
            RELEASE,
            str(ROOT / "charts/dpe-operator"),
            "--namespace",
            SYSTEM,
        ),
        *("--create-namespace", "--wait", "--timeout", "3m", *pairs),
        cure=f"kubectl get pods -n {SYSTEM}; {LOGS}; kubectl logs -n {SYSTEM} job/{RELEASE}-crds",
    )


def condition(resource: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a condition of a resource, {} when it has none of that type."""
    conditions = resource.get("status", {}).get("conditions", [])
    found: dict[str, Any] = next((one for one in conditions if one["type"] == name), {})
    return found


def is_ready(kube: Kube) -> bool:
    """Tell whether the DpeCluster is Ready in its present generation."""
    dpe = kube.get("dpecluster", CLUSTER, "-n", STUDIO)
    ready = condition(dpe, "Ready")
    current = dpe.get("metadata", {}).get("generation") == ready.get("observedGeneration")
    return ready.get("status") == "True" and current


def runs_balancer(kube: Kube, image: str) -> bool:
    """Tell whether the balancer's Deployment has this image: else the operator is not there yet."""
    found = kube.get("deployment", f"{CLUSTER}-balancer", "-n", STUDIO)
    template = found.get("spec", {}).get("template", {}).get("spec", {})
    return image in [container["image"] for container in template.get("containers", [])]


def wait_until_ready(kube: Kube, *, seconds: float, balancer: str = "") -> None:
    """Wait for the DpeCluster, and for a balancer image if one is named.

    A failure says what its conditions and pods say.
    """
    if wait_for(
        lambda: (not balancer or runs_balancer(kube, balancer)) and is_ready(kube), seconds=seconds
    ):
        return
    conditions = (
        kube.get("dpecluster", CLUSTER, "-n", STUDIO).get("status", {}).get("conditions", [])
    )
    said = [[c["type"], c["status"], c.get("reason", ""), c.get("message", "")] for c in conditions]
    pods = kube.kubectl("get", "pods", "-n", STUDIO, "-o", "wide")
    raise DemoError(
        f"not Ready after {seconds:.0f} s:\n{columns(said or [['no conditions']])}\n{pods}",
        cure=f"docs/troubleshooting.md tells what each reason means; {LOGS}",
    )


def overview(kube: Kube, seen: dict[str, Any]) -> str:
    """Return the tables of what runs, and what to try next."""
    dpe = kube.kubectl("get", "dpe-all", "-n", STUDIO)
    layout = "NAME:.metadata.name,STATUS:.status.phase,NODE:.spec.nodeName"
    pods = kube.kubectl(
        "get", "pods", "-n", STUDIO, "--sort-by=.metadata.name", "-o", f"custom-columns={layout}"
    )
    status = kube.get("dpecluster", CLUSTER, "-n", STUDIO).get("status", {})
    root, standby = status.get("serviceRoot", "?"), status.get("standby", "b")
    return f"""
{dpe}
{pods}
{seen["succeeded"]} requests of {seen["requests"]} answered over {root}

Three things to try:
  make demo-failover
      kills the active server under load and says what a client saw
  kubectl annotate dpe {CLUSTER} -n {STUDIO} dpe.dev/switch-to={standby}
      switches by hand
  kubectl scale processorfarm {CLUSTER}-audio -n {STUDIO} --replicas=3
      adds a processor
For kubectl: export KUBECONFIG=$(hack/cluster kubeconfig) PATH=$(hack/tools/build kubectl):$PATH
To remove it all: make demo-down
"""
