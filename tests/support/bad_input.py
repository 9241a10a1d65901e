# SPDX-License-Identifier: Apache-2.0
"""Bad input, who refuses it, and the exact words: a table, so that tests and docs can share it.

Rows for the operator (what needs other objects or computation) stand in the same table.
"""

from __future__ import annotations

from typing import Final

from tests.support.bad_input_balancer import BALANCER_ROWS
from tests.support.bad_input_databases import DATABASE_ROWS
from tests.support.bad_input_operator import OPERATOR_ROWS
from tests.support.bad_input_par import PAR_ROWS
from tests.support.bad_input_pods import POD_OPERATOR_ROWS, POD_ROWS
from tests.support.bad_input_row import (
    ABSENT,
    CLUSTER,
    FARM,
    SERVER,
    BadInput,
    Resource,
    changed,
)
from tests.support.bad_input_site import SITE_ROWS
from tests.support.bad_input_site_workflow import SITE_WORKFLOW_ROWS, WORKFLOW_OPERATOR_ROWS
from tests.support.bad_input_workflow import WORKFLOW_ROWS

__all__ = ["ABSENT", "CLUSTER", "FARM", "SERVER", "BadInput", "Resource", "changed"]

BAD_INPUT: Final = [
    *SITE_ROWS,
    *BALANCER_ROWS,
    *WORKFLOW_ROWS,
    *SITE_WORKFLOW_ROWS,
    *WORKFLOW_OPERATOR_ROWS,
    *OPERATOR_ROWS,
    *DATABASE_ROWS,
    *PAR_ROWS,
    *POD_ROWS,
    *POD_OPERATOR_ROWS,
]
REFUSED_BY_API_SERVER: Final = [row for row in BAD_INPUT if row.refused_by == "API server"]
REFUSED_BY_OPERATOR: Final = [row for row in BAD_INPUT if row.refused_by == "operator"]
