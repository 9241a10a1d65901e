# SPDX-License-Identifier: Apache-2.0
"""A DPE site for e2e tests: a namespace with PostgreSQL, certificates and one DpeCluster of simulated DPE."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.e2e.kubectl import Kubectl, Object, eventually
from tests.e2e.load import Followed, Load, Toolbox
from tests.e2e.site_manifests import certificate_objects, dpe_cluster, namespace, postgres

RECORD = "dpe.dev/"


class Site:
    """One DpeCluster, as a user sees it."""

    def __init__(self, kube: Kubectl, name: str, images: Mapping[str, str], folder: Path) -> None:
        self.kube = kube
        self.name = name
        self.images = images
        self.folder = folder
        self.manifest: Object = {}
        self.toolbox = Toolbox(kube, images["dpe-simulator"])

    # what it says of itself

    def status(self) -> Object:
        """The status of the DpeCluster."""
        status: Object = self.kube.get("dpe", self.name).get("status", {})
        return status

    def active(self) -> str:
        """The active member by the status, once the status and the balancers' record agree."""

        def agreed() -> str | None:
            recorded = self.recorded_active()
            return recorded if recorded and self.status().get("active") == recorded else None

        what = "status and record name the same active member"
        return str(eventually(agreed, timeout=60, what=what))

    def standby(self) -> str:
        """The other member."""
        active = self.active()
        names = [member["name"] for member in self.manifest["spec"]["server"]["members"]]
        return str(next(name for name in names if name != active))

    def record(self) -> Object:
        """The EndpointSlice that the routed balancer writes."""
        return self.kube.get("endpointslice", f"{self.name}-balancer")

    def recorded_active(self) -> str:
        """The active member by the balancers' record; needs no operator."""
        annotations = self.record()["metadata"].get("annotations", {})
        return str(annotations.get(RECORD + "active-member", ""))

    def epoch(self) -> int:
        """The epoch under which the record was written."""
        return int(self.record()["metadata"]["annotations"][RECORD + "epoch"])

    def routed_balancer(self) -> str:
        """The balancer pod that clients are sent to."""
        return str(self.record()["endpoints"][0]["targetRef"]["name"])

    # pods

    def member_pods(self, member: str) -> list[Object]:
        """Pods of a member that are not on their way out."""
        labels = {"app.kubernetes.io/instance": self.name, "dpe.dev/member": member}
        return [
            pod
            for pod in self.kube.list("pod", labels)
            if "deletionTimestamp" not in pod["metadata"]
        ]

    def member_pod(self, member: str) -> str:
        """Name of a member's pod."""
        return str(self.member_pods(member)[0]["metadata"]["name"])

    def member_uid(self, member: str) -> str:
        """UID of a member's pod."""
        return str(self.member_pods(member)[0]["metadata"]["uid"])

    def member_image(self, member: str) -> str:
        """Image in the member's Deployment."""
        template = self.kube.get("deployment", f"{self.name}-member-{member}")["spec"]["template"]
        return str(template["spec"]["containers"][0]["image"])

    def member_annotation(self, member: str, key: str) -> str:
        """An annotation of the member's running pod."""
        pods = self.member_pods(member)
        return str(pods[0]["metadata"].get("annotations", {}).get(key, "")) if pods else ""

    def pod_uids(self) -> dict[str, str]:
        """Name to UID of all pods of the site."""
        pods = self.kube.list("pod", {"app.kubernetes.io/part-of": self.name})
        return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods}

    def balancer_uids(self) -> set[str]:
        """UIDs of the balancer pods."""
        labels = {
            "app.kubernetes.io/instance": self.name,
            "app.kubernetes.io/component": "balancer",
        }
        return {pod["metadata"]["uid"] for pod in self.kube.list("pod", labels)}

    def node_of_pod(self, name: str) -> str:
        """Node a pod runs on."""
        return str(self.kube.get("pod", name)["spec"]["nodeName"])

    def node_of_member(self, member: str) -> str:
        """Node a member runs on."""
        return self.node_of_pod(self.member_pod(member))

    # waiting and doing

    def wait_active(self, member: str, *, timeout: float = 60) -> None:
        """Wait until the record names this member."""
        eventually(
            lambda: self.recorded_active() == member,
            timeout=timeout,
            what=f"{member} is active",
            describe=self.describe,
        )

    def wait_active_is_not(self, member: str, *, timeout: float = 60) -> None:
        """Wait until the record names another member."""
        eventually(
            lambda: self.recorded_active() not in ("", member),
            timeout=timeout,
            what=f"another than {member} is active",
            describe=self.describe,
        )

    def switch_count(self) -> int:
        """How many changes of the active member are recorded."""
        return int(self.record()["metadata"]["annotations"].get(RECORD + "switch-count", 0))

    def wait_switch_count(self, count: int, *, timeout: float = 60) -> None:
        """Wait until that many changes of the active member are recorded."""
        eventually(
            lambda: self.switch_count() >= count,
            timeout=timeout,
            what=f"{count} switches recorded",
            describe=self.describe,
        )

    def wait_epoch_above(self, epoch: int, *, timeout: float) -> None:
        """Wait until another balancer has taken over and written the record."""
        eventually(
            lambda: self.epoch() > epoch,
            timeout=timeout,
            what="a take-over",
            describe=self.describe,
        )

    def wait_member_state(self, member: str, state: str, *, timeout: float = 60) -> None:
        """Wait until the status shows a member as Up, Down or Unknown."""

        def shown() -> bool:
            members = self.status().get("members", [])
            return any(entry["name"] == member and entry["state"] == state for entry in members)

        eventually(
            shown, timeout=timeout, what=f"member {member} is {state}", describe=self.describe
        )

    def set_back(self, *, timeout: float) -> None:
        """Undo what a failed test may have left in the spec, and wait until it is Ready with both
        members up, `timeout` seconds for each of them."""
        self.kube.apply(self.manifest)
        self.kube.wait_ready("dpe", self.name, timeout=240)
        for member in ("a", "b"):
            self.wait_member_state(member, "Up", timeout=timeout)

    def wait_exists(self, kind: str, name: str, *, timeout: float) -> None:
        """Wait until an object is there."""
        eventually(
            lambda: self.kube.find(kind, name), timeout=timeout, what=f"{kind} {name} exists"
        )

    def move_routed_balancer_off(self, node: str) -> None:
        """See to it that the routed balancer is on another node."""
        routed = self.routed_balancer()
        if self.node_of_pod(routed) == node:
            self.kube.delete("pod", routed)
            eventually(
                lambda: self.routed_balancer() != routed,
                timeout=30,
                what="the other balancer is routed",
            )
            self.kube.wait_ready("dpe", self.name)

    def move_active_off(self, node: str) -> None:
        """See to it that the active member is on another node."""
        if self.node_of_member(self.active()) == node:
            target = self.standby()
            self.kube.annotate("dpe", self.name, switch_to=target)
            self.wait_active(target)

    def misbehave(self, member: str, **fault: object) -> None:
        """Let a server answer as hack/simulator/README.md, "Faults for tests", says; {}: rightly."""
        program = (
            "import ssl, sys, urllib.request; context = ssl._create_unverified_context();"
            "asked = urllib.request.Request(sys.argv[1], data=sys.argv[2].encode(), method='POST');"
            "urllib.request.urlopen(asked, context=context, timeout=10)"
        )
        host = f"{self.name}-member-{member}.{self.kube.namespace}.svc"
        url = f"https://{host}/DpeWebApplication/simulator/faults"
        self.toolbox.python(program, url, json.dumps(fault))

    def event_texts(self) -> list[str]:
        """Notes of all events in the namespace."""
        return [event.get("message", "") for event in self.kube.list("events")]

    def load(
        self, *, seconds: float, port: int = 443, avoid_node: str = "", pinned: bool = False
    ) -> Load:
        """A client pod with 10 kept connections, one of them slow, and fresh ones beside them.

        `pinned`: it knows the balancer's address without a name server, which may be lost as well.
        """
        return Load(
            self.kube,
            image=self.images["dpe-simulator"],
            site=self.name,
            seconds=seconds,
            port=port,
            avoid_node=avoid_node,
            pinned=pinned,
        )

    def served_serial(self) -> str:
        """Serial number of the certificate that the balancer's address serves."""
        return self.toolbox.certificate_serial(f"{self.name}-balancer", 443)

    def renew_certificate(self) -> None:
        """Another certificate of the same authority into the same Secret."""
        self.kube.apply(*certificate_objects(self.name, self.kube.namespace, self.folder))

    def following(self, pod: str) -> Followed:
        """Keep what a pod says that is about to be deleted; a context manager."""
        return Followed(self.kube, pod)

    def account(self, load: Load, followed: Followed | None = None) -> str:
        """All that may tell why a fail-over took as long as it did, for a failing test's message."""
        labels = f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component=balancer"
        words = ("--all-containers", "--prefix", "--timestamps", "--tail=60")
        events = self.kube.run("get", "events", "--sort-by=.lastTimestamp", check=False)
        parts = {
            "what the client saw": load.story(),
            "second by second": load.progress(),
            "the pod that was deleted said": followed.text if followed else "",
            "the balancers that are there say": self.kube.run(
                "logs", "-l", labels, *words, check=False
            ),
            "record, pods and conditions": self.describe(),
            "Lease": self.kube.run(
                "get", "lease", f"{self.name}-balancer", "-o", "yaml", check=False
            ),
            "last events": "\n".join(events.splitlines()[-30:]),
        }
        return "".join(f"\n--- {title}\n{text}\n" for title, text in parts.items() if text)

    def describe(self) -> str:
        """What a person would look at first."""
        seen = self.kube.run("get", "dpe-all,pods", "-o", "wide", check=False)
        conditions = json.dumps(self.status().get("conditions", []), indent=1)
        return f"\n{seen}\n{conditions}\n{json.dumps(self.record()['metadata'].get('annotations', {}), indent=1)}"


class SiteFactory:
    """Makes sites, each in a namespace of its own, and takes them away at the end."""

    def __init__(self, cluster: Kubectl, images: Mapping[str, str], folder: Path) -> None:
        self._cluster = cluster
        self._images = images
        self._folder = folder
        self._sites: dict[str, Site] = {}
        self._namespaces: set[str] = set()

    def create(self, name: str, **settings: Any) -> Site:
        """A site in a new namespace, up and Ready.

        Settings are those of site_manifests.dpe_cluster, and `certificates`: a folder with an
        authority to go on with.
        """
        return self.create_in(self.room(name), name, **settings)

    def room(self, name: str) -> Kubectl:
        """An empty namespace for a site, to put something there before the site.

        What a failed run of the same test has left there goes first: a site that is in any state,
        or that trusts another authority, would make each repetition fail as well.
        """
        kube = self._cluster.within(f"e2e-{name}")
        words = ("namespace", kube.namespace, "--ignore-not-found", "--wait=true")
        self._cluster.run("delete", *words, timeout=180)
        self._cluster.apply(namespace(kube.namespace))
        self._namespaces.add(kube.namespace)
        return kube

    def create_in(self, room: Kubectl, name: str, **settings: Any) -> Site:
        """As create, in a namespace that `room` has made."""
        room.apply(*postgres(room.namespace, self._images["dpe-postgres"]))
        return self._start(room, name, settings)

    def beside(self, other: Site, name: str, **settings: Any) -> Site:
        """A second site in the namespace of another."""
        return self._start(other.kube, name, settings)

    def get(self, name: str) -> Site:
        """A site made before, by this test session."""
        return (
            self._sites[name]
            if name in self._sites
            else self.create(name, farms=(), tls="Terminate")
        )

    def remove_all(self) -> None:
        """Delete the namespaces made here; the cluster goes on deleting by itself."""
        for name in self._namespaces:
            self._cluster.run("delete", "namespace", name, "--wait=false", "--ignore-not-found")
        self._namespaces.clear()
        self._sites.clear()

    def _start(self, kube: Kubectl, name: str, settings: Mapping[str, Any]) -> Site:
        settings = dict(settings)
        folder = settings.pop("certificates", None) or self._folder / f"{kube.namespace}-{name}"
        site = Site(kube, name, self._images, folder)
        self._sites[name] = site
        kube.apply(*certificate_objects(name, kube.namespace, folder))
        site.manifest = dpe_cluster(name, self._images, **settings)
        kube.apply(site.manifest)
        kube.wait_ready("dpe", name, timeout=180)
        return site
