# SPDX-License-Identifier: Apache-2.0
"""Containers that hang: their processes are stopped from outside, which nobody inside can see."""

from __future__ import annotations

import subprocess

from tests.e2e.kubectl import Kubectl, Object

# In the node: every process whose control group carries the container's id.
_SIGNAL = """
for group in $(grep -l "$1" /proc/[0-9]*/cgroup 2>/dev/null); do
  process=${group#/proc/}
  kill -s "$2" "${process%/cgroup}" && echo "${process%/cgroup}"
done
"""


class Processes:
    """Stops processes of containers; every fault is taken back at the end."""

    def __init__(self, kube: Kubectl) -> None:
        self._kube = kube
        self._stopped: list[tuple[str, str]] = []  # node, id of the container

    def hang(self, pod: str) -> None:
        """SIGSTOP all processes of a pod's first container: connections stay, nothing answers."""
        found = self._kube.get("pod", pod)
        place = (str(found["spec"]["nodeName"]), container_id(found))
        self._stopped.append(place)
        assert _signal(*place, "STOP"), f"no process of {pod} was found on {place[0]}"

    def go_on(self) -> None:
        """SIGCONT for all that were stopped, as far as they still exist."""
        while self._stopped:
            _signal(*self._stopped.pop(), "CONT")


def container_id(pod: Object) -> str:
    """The runtime's id of a pod's first container, without the runtime's name."""
    return str(pod["status"]["containerStatuses"][0]["containerID"]).rpartition("/")[2]


def _signal(node: str, container: str, number: str) -> list[str]:
    """Process numbers, as the node counts them, that got the signal."""
    command = ["docker", "exec", node, "sh", "-c", _SIGNAL, "signal", container, number]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return done.stdout.split()
