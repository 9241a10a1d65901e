# SPDX-License-Identifier: Apache-2.0
"""Lines of a component for the ledger, and its proofs of life, on their way through the server.

A killed process takes the lines with it that it has not sent, and a cut-off node cannot send any.
What says who acted until when is therefore also written to a file or to standard output, where the
node keeps it; `check --component-records` reads it there.
"""

import asyncio
import json
import time
from typing import Any, TextIO

from dpe_operator.prober.retry import AttemptFailed
from dpe_simulator.api_client import ApiClient
from dpe_simulator.identity import Identity
from dpe_simulator.log import say

# A proof that comes later than this many intervals does not vouch for the time before it: the
# process was frozen.
_FROZEN = 3


class LedgerMail:
    """Lines of one process, numbered."""

    def __init__(
        self, api: ApiClient, identity: Identity, *, interval: float, records: TextIO | None = None
    ) -> None:
        self._api = api
        self._identity = identity
        self._interval = interval
        self._records = records
        self._entries: list[dict[str, Any]] = []
        self._count = 0
        self._soon = asyncio.Event()

    def add(self, kind: str, *, at: float, until: float | None = None, subject: str | None = None,
            **detail: object) -> None:  # fmt: skip
        """Note a line; it is sent by the next `send`."""
        self._count += 1
        if self._identity.component is not None:
            detail["component"] = self._identity.component
        entry = {
            "seq": self._count, "kind": kind, "at": at, "until": until, "subject": subject,
            "detail": detail,
        }  # fmt: skip
        self._entries.append(entry)
        if self._records is not None:
            self._records.write(json.dumps({**self._identity.described(), **entry}) + "\n")
            self._records.flush()

    def hurry(self) -> None:
        """Send at once, without waiting for it: what is not sent dies with the process."""
        self._soon.set()

    async def send(self) -> None:
        """Send what is noted; what could not be sent stays for the next time.

        Raises:
            AttemptFailed: the profile is used up, or the server refused the lines.
        """
        while batch := self._entries[:500]:
            who = self._identity
            body = {
                "role": who.role, "member": who.member, "process": who.process, "epoch": who.epoch,
                "entries": batch,
            }  # fmt: skip
            answer = await self._api.call("POST", "/simulator/ledger", body)
            if answer.status != 200:
                raise AttemptFailed(f"http-{answer.status}", str(answer.json().get("error")))
            del self._entries[: len(batch)]

    async def run(self) -> None:
        """Send for ever; a task that is cancelled at the end."""
        while True:
            try:
                async with asyncio.timeout(self._interval):
                    await self._soon.wait()
            except TimeoutError:
                pass
            self._soon.clear()
            try:
                await self.send()
            except AttemptFailed as failure:
                say(f"ledger: {failure}")

    async def send_last(self, *, within: float) -> None:
        """Send what is left, for a bounded number of seconds."""
        try:
            async with asyncio.timeout(within):
                await self.send()
        except (AttemptFailed, TimeoutError) as failure:
            say(f"ledger: the last lines could not be sent: {failure!r}")


async def prove_life(mail: LedgerMail, *, interval: float) -> None:
    """Note at every interval that this process acts; a task that is cancelled at the end."""
    before = time.time()
    while True:
        await asyncio.sleep(interval)
        now = time.time()
        mail.add("acting", at=before if now - before < _FROZEN * interval else now, until=now)
        before = now
        mail.hurry()
