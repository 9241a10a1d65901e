# SPDX-License-Identifier: Apache-2.0
"""Logging: one JSON object a line, with the resource and the reconcile it is about."""

import contextvars
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pythonjsonlogger.json import JsonFormatter

from dpe_operator.planning.objects import Ref

_RESOURCE: Final[contextvars.ContextVar[str]] = contextvars.ContextVar("resource", default="")
_RECONCILE: Final[contextvars.ContextVar[str]] = contextvars.ContextVar("reconcile", default="")


class _Context(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.resource = _RESOURCE.get()
        record.reconcile = _RECONCILE.get()
        return True


@contextmanager
def reconcile_context(key: Ref) -> Iterator[str]:
    """Give all log lines within the block the resource and a reconcile id, which is returned."""
    number = secrets.token_hex(4)
    resource = _RESOURCE.set(f"{key.kind}/{key.namespace}/{key.name}")
    reconcile = _RECONCILE.set(number)
    try:
        yield number
    finally:
        _RESOURCE.reset(resource)
        _RECONCILE.reset(reconcile)


def configure(*, log_format: str, level: str) -> None:
    """Send all logs to standard error, in the format asked for; replaces what was set up before."""
    handler = logging.StreamHandler()
    handler.addFilter(_Context())
    if log_format == "json":
        handler.setFormatter(
            JsonFormatter(
                "%(asctime)s %(levelname)s %(name)s %(message)s %(resource)s %(reconcile)s",
                rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            )
        )
    else:
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)-7s %(resource)s %(message)s")
        )
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    # kopf tells about each event it handles; ours say what was done about it.
    for noisy in ("kopf.objects", "aiohttp.access"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    # It warns that it does not handle signals; it should not, we do.
    logging.getLogger("kopf._core.reactor.running").setLevel(max(logging.ERROR, root.level))
