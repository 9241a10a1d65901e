# SPDX-License-Identifier: Apache-2.0
"""Faults of containers and of the way to them, from their nodes: nobody inside, and no kubelet, is
told of them."""

from __future__ import annotations

import subprocess

from tests.e2e.kubectl import Kubectl, Object

# Processes of a container are found by its id in their cgroup; a name narrows them down.
_SIGNAL = (
    'for p in /proc/[0-9]*; do grep -qs {id} "$p/cgroup" || continue; '
    '[ -z "{name}" ] || [ "$(cat "$p/comm")" = "{name}" ] || continue; '
    'kill -{signal} "${{p##*/}}" && echo "${{p##*/}}"; done; true'
)
_MARK = "dpe-fault"


class Processes:
    """Breaks processes of pods, and what leads to them; every fault is taken back at the end."""

    def __init__(self, kube: Kubectl) -> None:
        self._kube = kube
        self._stopped: list[Object] = []
        self._lossy: set[str] = set()  # nodes

    def hang(self, pod: str) -> None:
        """SIGSTOP all processes of a pod's first container: connections stay, nothing answers."""
        found = self._kube.get("pod", pod)
        self._stopped.append(found)
        assert signal_pod(found, "STOP"), f"no process of {pod} was found"

    def kill(self, pod: str, *, program: str = "") -> None:
        """SIGKILL all processes of a pod's first container, or those of one program."""
        assert signal_pod(self._kube.get("pod", pod), "KILL", program=program), "nothing was found"

    def lose_packets(self, pod: str, share: float) -> None:
        """Drop a share (0 to 1) of the packets to a pod, at random."""
        found = self._kube.get("pod", pod)
        self._lossy.add(found["spec"]["nodeName"])
        lose_packets(found, share)

    def block(self, pod: str, others: list[str]) -> None:
        """Drop all packets from a pod to some others; whatever else it reaches it goes on reaching."""
        found = self._kube.get("pod", pod)
        node = found["spec"]["nodeName"]
        self._lossy.add(node)
        for other in others:
            address = self._kube.get("pod", other)["status"]["podIP"]
            _drop(node, f"-s {found['status']['podIP']} -d {address}")

    def go_on(self) -> None:
        """Take all of it back, as far as the processes still exist."""
        while self._stopped:
            signal_pod(self._stopped.pop(), "CONT")
        while self._lossy:
            lose_no_packets(self._lossy.pop())


def on_node(node: str, script: str) -> str:
    """Run a shell script in a node, as root of that machine; return what it prints.

    Raises:
        RuntimeError: it ended with an error; the text says what it printed.
    """
    done = subprocess.run(
        ["docker", "exec", node, "sh", "-c", script],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{node}: {script[:60]}: {done.stderr.strip()}")
    return done.stdout


def signal_pod(pod: Object, signal: str, *, program: str = "") -> list[str]:
    """Send a signal to all processes of a pod's first container, or to those of one program.

    As the kernel does when memory runs out. Returns the process numbers, as the node counts them.
    """
    container = pod["status"]["containerStatuses"][0]["containerID"].split("://")[-1]
    script = _SIGNAL.format(id=container, name=program, signal=signal)
    return on_node(pod["spec"]["nodeName"], script).split()


def lose_packets(pod: Object, share: float) -> None:
    """Drop a share (0 to 1) of the packets to a pod, at random, on its node."""
    chance = f"-m statistic --mode random --probability {share}"
    _drop(pod["spec"]["nodeName"], f"-d {pod['status']['podIP']} {chance}")


def _drop(node: str, which: str) -> None:
    """Have a node drop what an iptables rule would match."""
    rule = f"{which} -m comment --comment {_MARK} -j DROP"
    on_node(node, f"iptables -w -I FORWARD 1 {rule}")


def lose_no_packets(node: str) -> None:
    """Take away every rule that drops packets on a node, also those of a run that was killed."""
    on_node(
        node,
        f"iptables -w -S FORWARD | sed -n 's/^-A \\(.*{_MARK}.*\\)/\\1/p' | "
        'while read -r rule; do eval iptables -w -D "$rule"; done',
    )
