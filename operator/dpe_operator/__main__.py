# SPDX-License-Identifier: Apache-2.0
"""Entry of `python3 -m dpe_operator`; the image starts the same function as `dpe-operator`."""

import sys

from dpe_operator.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
