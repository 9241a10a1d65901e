# SPDX-License-Identifier: Apache-2.0
"""`dpe-operator database-check`: what the check Job runs; see `dpe_operator.database_check`.

It prints nothing about what it reads. The result goes to the termination message alone.
"""

import sys
from pathlib import Path

from dpe_operator.database_check.check import run_check
from dpe_operator.database_check.reference import references_of
from dpe_operator.database_check.report import MAX_BYTES, encode


def database_check(references: str, *, root: Path, result: Path) -> int:
    """Run the check; return the exit status (2: wrong use, 1: it could not be done).

    Args:
        references: JSON list of what to look at.
        root: folder with the mounted Secrets, `0`, `1`, ... in the order of the references.
        result: file for the result; kubelet takes it into the pod's status.
    """
    try:
        wanted = references_of(references)
    except ValueError:
        print("dpe-operator: --references is not a JSON list of references", file=sys.stderr)
        return 2
    try:
        text = encode(run_check(wanted, root))
        if len(text.encode()) > MAX_BYTES:
            print("dpe-operator: the result is too long for a pod's status", file=sys.stderr)
            return 1
        result.write_text(text)
    except Exception as error:  # its text may quote a value: only its type is safe to print
        print(f"dpe-operator: the check failed ({type(error).__name__})", file=sys.stderr)
        return 1
    print(f"{len(wanted)} references checked")
    return 0
