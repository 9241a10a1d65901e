# SPDX-License-Identifier: Apache-2.0
"""Whether this server can work: it can when the core database answers within a bound."""

import asyncio
import time

from dpe_simulator.database import Database, DatabaseUnavailable, Session

# Checks of both balancers and of kubelet that come within this time share one question.
_SHARED_SECONDS = 0.1


def _ask(session: Session) -> None:
    session.execute("SELECT 1")


class Health:
    """Asks the core database on a connection of its own."""

    def __init__(self, database: Database, *, bound: float) -> None:
        self._database = database
        self._bound = bound
        self._question: asyncio.Task[str | None] | None = None
        self._asked = 0.0

    async def problem(self) -> str | None:
        """Return None when all is well, else what is wrong; takes `bound` seconds at most."""
        question, now = self._question, time.monotonic()
        if question is None or (question.done() and now - self._asked > _SHARED_SECONDS):
            self._asked = now
            question = self._question = asyncio.create_task(self._answer())
        return await asyncio.shield(question)

    async def _answer(self) -> str | None:
        try:
            await self._database.run(_ask, within=self._bound)
        except DatabaseUnavailable as problem:
            return str(problem)
        return None
