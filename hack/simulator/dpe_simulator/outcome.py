# SPDX-License-Identifier: Apache-2.0
"""What the subcommands share: their target, their result, their end."""

import argparse
import os
import sys

from dpe_operator.prober.http_client import Target, parse_target


def leave(status: int) -> int:
    """End now: a thread that waits for a frozen database must not delay the end of the process."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def read_target(options: argparse.Namespace) -> Target:
    """Read where to connect to.

    Raises:
        ValueError: there is no address, or a wrong one.
    """
    if not options.url:
        raise ValueError("--url: no address; give it here or in DPE_SERVICE_ROOT")
    return parse_target(options.url, ca_file=options.ca, verify=not options.insecure)
