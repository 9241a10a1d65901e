# SPDX-License-Identifier: Apache-2.0
"""The balancer that is not routed asks the one that is, past the API server.

Does HAProxy answer? That alone decides nothing: the elector may break the Lease early only if the
Lease was not renewed either, see docs/adr/0013. The question goes to HAProxy's port for metrics, so
no member sees a connection, and a HAProxy that hangs is silent though the kernel still takes
connections.

Which member is active? The agent's word is newer than the record if it has switched while the API
server was away, see docs/adr/0016. With this question and its answer the two tell each other
whether they see a member up, see docs/adr/0019.
"""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dpe_balancer import local_files
from dpe_balancer.blind import Sight
from dpe_balancer.keeper import WATCH_SECONDS, Board
from dpe_balancer.metrics import SEES_UP, WORD_PATH
from dpe_balancer.model import Record

log = logging.getLogger("dpe_balancer")

# From one question to the next, and how long an answer may take (connection included).
ASK_SECONDS = 0.4
# So many questions in a row without an answer are a sign. With 0.4 s each a lost node is noticed
# within 1.6 s, about when three renewals of its Lease (0.5 s each) are missing too.
FAILED_QUESTIONS = 3
# A pod that never answered is no sign: a network policy may be in the way. Say so after 10 s.
NEVER_HEARD_QUESTIONS = 25
# How often a sign is repeated; the elector believes it for 2 s.
REPEAT_SECONDS = 0.5

# An answer about the active member is some hundred bytes.
_LONGEST_WORD = 16_384

Where = Callable[[str], tuple[str, int, int]]


@dataclass(frozen=True)
class Trials:
    """What came of asking the pod with the uid `pod`: whether it ever answered, and how many
    questions in a row it has not."""

    pod: str = ""
    heard: bool = False
    failed: int = 0

    def after(self, pod: str, *, answered: bool) -> Trials:
        """The same after one more question, to `pod`."""
        before = self if pod == self.pod else Trials(pod)
        if answered:
            return replace(before, heard=True, failed=0)
        return replace(before, failed=before.failed + 1)

    @property
    def silent(self) -> bool:
        """Whether the pod used to answer and no longer does."""
        return self.heard and self.failed >= FAILED_QUESTIONS


def target(record: Record | None, own_uid: str) -> tuple[str, str] | None:
    """Uid and address of the pod to ask; None when clients are sent here, or to nobody."""
    if record is None or record.routed_to in (None, "", own_uid) or not record.address:
        return None
    return str(record.routed_to), record.address


def answers(address: str, port: int) -> bool:
    """Whether HAProxy answers there; a connection that is refused is a "no" at once."""
    deadline = time.monotonic() + ASK_SECONDS
    try:
        with socket.create_connection((address, port), timeout=ASK_SECONDS) as connection:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            # a page that is not there is an answer too
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.recv(5) == b"HTTP/"
    except OSError:
        return False


def word_of(address: str, port: int, *, sees_up: bool) -> tuple[Record | None, bool]:
    """What the agent there says about the active member (None: it says nothing, or no agent), and
    whether it sees a member up. It is told whether this balancer does."""
    connection = http.client.HTTPConnection(address, port, timeout=ASK_SECONDS)
    try:
        connection.request("GET", f"{WORD_PATH}?{SEES_UP}" if sees_up else WORD_PATH)
        answer = connection.getresponse()
        text = answer.read(_LONGEST_WORD)
        if answer.status == 200:
            return local_files.choice_record(text), local_files.says_up(text)
        return None, False
    except (OSError, http.client.HTTPException):
        return None, False
    finally:
        connection.close()


class Peer:
    """A thread that asks; what it has learnt may be read by others."""

    def __init__(self, board: Board, own_uid: str, where: Where) -> None:
        """`where` makes the host to ask from the routed pod's address, with HAProxy's port for
        metrics and the agent's."""
        self._board = board
        self._own_uid = own_uid
        self._where = where
        self._trials = Trials()
        self._told: Record | None = None
        # whether this balancer could serve: it is ready and sees a member up, and not one that is
        # only kept (late.py); and whether it could take the Lease for that
        self.sees_up = self.could_serve = False
        self._sight = Sight()

    @property
    def told(self) -> Record | None:
        """The last word of the routed pod on which member is active; None: there was none yet."""
        return self._told

    @property
    def sight(self) -> Sight:
        """What the other balancer said of itself, asked or with a question of its own."""
        return self._sight

    def other_sees_up(self) -> None:
        """The other balancer has just said that it sees a member up."""
        self._sight = self._sight.again(time.monotonic())

    @property
    def silent(self) -> str:
        """Uid of the routed pod if it does not answer any more, else empty."""
        trials = self._trials
        return trials.pod if trials.silent else ""

    def start(self) -> None:
        """Begin to ask; the thread ends with the process."""
        threading.Thread(target=self._run, name="peer", daemon=True).start()

    def _run(self) -> None:
        while True:
            begin = time.monotonic()
            try:
                self.ask_once()
            except Exception:  # whatever comes from the network must not end the thread
                log.exception("cannot ask the routed balancer, trying on")
                time.sleep(WATCH_SECONDS)
            time.sleep(max(0.0, begin + ASK_SECONDS - time.monotonic()))

    def ask_once(self) -> None:
        """Put one question, if there is anybody to ask."""
        record, _ = self._board.read()
        found = target(record, self._own_uid)
        if found is None:
            self._trials, self._told = Trials(), None
            return
        pod, address = found
        host, port, word_port = self._where(address)
        answered = answers(host, port)
        before, self._trials = self._trials, self._trials.after(pod, answered=answered)
        now = self._trials
        if answered:
            # a pod that falls silent keeps its word: nobody else has decided since
            told, up = word_of(host, word_port, sees_up=self.could_serve)
            self._told = told or self._told
            if up and told is not None and told.routed_to == pod:
                self.other_sees_up()
        if now.silent and not before.silent:
            log.warning("the routed balancer (%s:%d) does not answer", host, port)
        elif before.silent and before.pod == pod and not now.silent:
            log.info("the routed balancer (%s:%d) answers again", host, port)
        elif not now.heard and now.failed == NEVER_HEARD_QUESTIONS:
            log.warning(
                "the routed balancer was never reached at %s:%d: allow the balancer pods that port "
                "among themselves (NetworkPolicy), or the loss of its node costs 6 s and not 3",
                host,
                port,
            )


class SignFile:
    """`peer.json` for the elector: fresh while the routed pod is silent and we could serve."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._said = ""
        self._said_at = 0.0

    def clear(self) -> None:
        """Say nothing, whatever an agent before this one said."""
        local_files.remove(self._path)
        self._said = ""

    def say(self, pod: str) -> None:
        """Say that the pod with this uid is silent; an empty one takes that back."""
        now = time.monotonic()
        if pod and (pod != self._said or now - self._said_at >= REPEAT_SECONDS):
            local_files.write_sign(self._path, pod)
            self._said_at = now
        elif self._said and not pod:
            self.clear()
        self._said = pod
