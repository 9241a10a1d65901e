# SPDX-License-Identifier: Apache-2.0
"""Entry point: `python3 -I -S PATH/dpe_elector ...` or `python3 -m dpe_elector ...`.

As PID 1 this process becomes the guard. Only the elector, forked from it, loads TLS and HTTP.
"""

import os
import sys

if not __package__:  # started by the folder's path: its parent is where the package lies
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from dpe_elector import exits
from dpe_elector.guard import Guard
from dpe_elector.log import Log
from dpe_elector.messages import Pipe
from dpe_elector.permit import Permit
from dpe_elector.settings import Settings, SettingsRefused, complain, parse

NOT_PID_ONE = "DPE_ELECTOR_TEST_NOT_PID1"


def main() -> int:
    """Check where we are and what we were told, then guard; returns the exit status."""
    try:
        settings = parse(sys.argv[1:])
    except SettingsRefused as refused:
        complain(str(refused))
        return exits.USAGE
    if os.getpid() != 1 and os.environ.get(NOT_PID_ONE) != "1":
        complain(
            f"the PID is {os.getpid()}, but only PID 1 of a container can be sure to end the "
            f"command: take shells, wrappers, shareProcessNamespace and hostPID away"
        )
        return exits.USAGE
    return Guard(settings, _elector, Log("guard")).run()


def _elector(settings: Settings, pipe: Pipe, permit: Permit | None) -> int:
    from dpe_elector import node  # noqa: PLC0415 - keeps TLS and HTTP out of the guard's memory

    return node.main(settings, pipe, permit)


if __name__ == "__main__":
    sys.exit(main())
