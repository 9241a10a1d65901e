# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with a request, as types, so that callers decide by type and not by number."""

from http import HTTPStatus
from typing import Any, Final


class KubeError(Exception):
    """The API server refused a request or was not reached."""


class Unreachable(KubeError):
    """No answer: no connection, or none within the time limit."""


class ApiError(KubeError):
    """The API server answered with an error; `status` is the HTTP status, `reason` its word."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class NotFound(ApiError):
    """The object is not there (or its kind is not installed)."""


class Conflict(ApiError):
    """The object changed meanwhile, exists already, or has another uid than asked for."""


class Invalid(ApiError):
    """The API server finds the object wrong: trying again does not help."""


class UnknownField(Invalid):
    """The kind's schema does not have a field that was applied."""


class Forbidden(ApiError):
    """The operator's rights do not reach, or a policy or quota of the namespace says no."""


class NamespaceGoing(Forbidden):
    """The namespace is being deleted: nothing new can be made in it, and all in it will go."""


class Gone(ApiError):
    """The list we were paging through is too old."""


_BY_STATUS: Final[dict[int, type[ApiError]]] = {
    400: Invalid,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
}

# Server-side apply answers 500 to a field that the kind's schema does not have, and always will: a
# field of a `podTemplate` that Kubernetes does not know, or a status that newer CRDs describe.
_NO_SUCH_FIELD: Final = "field not declared in schema"


def error_for(status: int, body: Any, *, what: str) -> ApiError:
    """Return the error for an HTTP status and the server's Status object (or text)."""
    if isinstance(body, dict):
        reason, message = str(body.get("reason", "")), str(body.get("message", ""))
    else:
        reason, message = "", str(body)[:500]
    found = NamespaceGoing if _namespace_goes(body) else _BY_STATUS.get(status, ApiError)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR and _NO_SUCH_FIELD in message:
        found = UnknownField
        if "/apis/dpe.dev/" in what:
            message += (
                " (the CRDs of the cluster are older than this operator: apply those in crds/)"
            )
    return found(status, reason or "Error", f"{what}: {message}")


def _namespace_goes(body: Any) -> bool:
    details = body.get("details") if isinstance(body, dict) else None
    causes = (details or {}).get("causes") or ()
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)
