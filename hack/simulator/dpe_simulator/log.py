# SPDX-License-Identifier: Apache-2.0
"""Lines for the log."""

import sys
import time


def say(text: str) -> None:
    """Print a line for the log."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
