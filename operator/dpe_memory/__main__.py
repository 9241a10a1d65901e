# SPDX-License-Identifier: Apache-2.0
"""Entry point: `python3 -I -S PATH/dpe_memory ...` or `python3 -m dpe_memory ...`.

Runs as the command of dpe-elector, under its permit: the guard may kill it at any moment, and what
it leaves behind then is cleared up by the next start.
"""

import os
import sys

if not __package__:  # started by the folder's path: its parent is where the package lies
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

import signal

from dpe_elector.api_client import ApiClient
from dpe_elector.environment import inherited
from dpe_elector.log import Log
from dpe_memory.handover import become, environment_of
from dpe_memory.holding import Holder, Holding
from dpe_memory.run import Run, Stopped
from dpe_memory.settings import Settings, parse
from dpe_memory.volume import volume_of

EXIT_USAGE = 2


def main() -> int:
    """Prepare the memory and become the command; returns an exit status if that must not be."""
    # the guard asks once: until the command is there, asking is enough
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        settings = parse(sys.argv[1:])
        client = ApiClient.from_environment()
    except ValueError as refused:
        print(f"dpe-memory: {refused}", file=sys.stderr)
        return EXIT_USAGE
    say = Log("memory")
    # What is made here is for the next pod too, which may run as another user of the same group.
    umask = os.umask(0o002)
    try:
        epoch = _run(settings, client, say).prepare()
    except Stopped as stopped:
        say(f"the command is not started: {stopped}")
        return stopped.status
    client.close()
    os.umask(umask)
    return become(settings.command, environment_of(inherited(), epoch))


def _run(settings: Settings, client: ApiClient, say: Log) -> Run:
    holder = Holder(settings.pod, settings.uid, settings.epoch)
    return Run(
        settings=settings,
        volume=volume_of(settings.volume, settings.folder, settings.owner, settings.epoch),
        lease=Holding(client, settings.namespace, settings.lease, holder),
        say=say,
    )


if __name__ == "__main__":
    sys.exit(main())
