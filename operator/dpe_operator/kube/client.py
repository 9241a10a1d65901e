# SPDX-License-Identifier: Apache-2.0
"""The eight requests that the operator makes, as a protocol; everything else is tested against it.

Objects are raw dicts. Each call raises `Unreachable` without an answer in time, or a kind of
`ApiError`. The one implementation for production is `rest.RestClient`.
"""

from typing import Any, Protocol

from dpe_operator.planning.objects import Obj, Ref


class KubeClient(Protocol):
    """Requests on Kubernetes objects."""

    async def get(self, ref: Ref) -> Obj:
        """Read one object. Raises NotFound."""

    async def list(self, kind: str, namespace: str, *, labels: str = "") -> list[Obj]:
        """Read all objects of a kind (namespace empty: everywhere) with a label selector."""

    async def create(self, obj: Obj) -> Obj:
        """POST. Raises Conflict when it exists."""

    async def apply(self, obj: Obj, *, manager: str, force: bool = True) -> Obj:
        """Server-side apply of the full intent of `manager`; a field left out is given up."""

    async def apply_status(self, obj: Obj, *, manager: str) -> Obj:
        """Server-side apply on the status subresource. Raises NotFound."""

    async def update(self, obj: Obj) -> Obj:
        """PUT with the resourceVersion in `obj`. Raises Conflict when it changed meanwhile."""

    async def merge_patch(self, ref: Ref, patch: dict[str, Any]) -> Obj:
        """Change single fields; null removes one. Raises NotFound."""

    async def delete(self, ref: Ref, *, uid: str, foreground: bool = False) -> None:
        """Delete this very object (another of the same name raises Conflict). Gone is fine.

        `foreground`: it stays, marked as going, until all that belongs to it is gone.
        """
