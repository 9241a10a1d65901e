# SPDX-License-Identifier: Apache-2.0
"""The environment as this process was given it, for the command.

Not `os.environ`: where no locale is set Python adds LC_CTYPE to its own environment, and a program
behind it would find a locale that its image does not have.
"""

import os

# What configures the elector, and is nobody else's business.
PREFIX = "DPE_ELECTOR_"


def inherited() -> dict[str, str]:
    """Return all variables that this process was started with."""
    try:
        with open("/proc/self/environ", "rb") as file:
            block = file.read()
    except OSError:
        return dict(os.environ)
    items = (item.partition(b"=") for item in block.split(b"\0"))
    return {os.fsdecode(name): os.fsdecode(value) for name, mark, value in items if name and mark}


def without_own(environment: dict[str, str]) -> dict[str, str]:
    """Return `environment` without the variables that configure the elector."""
    return {name: value for name, value in environment.items() if not name.startswith(PREFIX)}
