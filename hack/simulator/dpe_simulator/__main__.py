# SPDX-License-Identifier: Apache-2.0
"""Entry of `python3 -m dpe_simulator`; the image starts the same function as `dpe-simulator`."""

import sys

from dpe_simulator.cli import main

if __name__ == "__main__":
    sys.exit(main())
