# SPDX-License-Identifier: Apache-2.0
"""Who a process of the simulator is. No database driver here: most components need none."""

import os
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass

# What a Deployment appends to its name for a pod: a hash of the template and five characters.
_POD_SUFFIX = re.compile(r"-[a-z0-9]{6,10}-[a-z0-9]{5}$")


@dataclass(frozen=True)
class Identity:
    """Who writes to the ledger.

    role: server, processor, worker, scheduler, table-watcher or folder-watcher.
    member: of a pair of servers, or of the members of a Concurrent component.
    epoch: what the elector has put into DPE_ELECTOR_EPOCH; None without an elector (Concurrent).
    component: which of several of one role, such as news-entries; None for servers and processors.
    """

    role: str
    member: str | None
    process: str
    epoch: int | None
    component: str | None = None

    @classmethod
    def here(
        cls,
        role: str,
        *,
        member: str | None,
        environment: Mapping[str, str],
        component: str | None = None,
    ) -> "Identity":
        """Identity of this process: host name (of a pod: its name), process id, a random part."""
        epoch = environment.get("DPE_ELECTOR_EPOCH", "")
        name = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(3)}"
        return cls(role, member, name, int(epoch) if epoch.isdecimal() else None, component)

    def described(self) -> dict[str, object]:
        """Who, as requests and lines of the ledger say it; JSON."""
        return {
            "role": self.role, "component": self.component, "member": self.member,
            "process": self.process, "epoch": self.epoch,
        }  # fmt: skip


def component_name(host: str) -> str:
    """The name of a component that was given none: that of its pod without the random parts."""
    return _POD_SUFFIX.sub("", host)
