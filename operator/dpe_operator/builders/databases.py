# SPDX-License-Identifier: Apache-2.0
"""How the Secrets of the site's databases reach the pods: named, never read and never copied.

What a pod is given is a reference (`secretKeyRef`, a volume), so a Secret that is not there keeps
the pod from starting, which is better than a component that runs without its database.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dpe_operator.api.databases import (
    CONTENT_PREFIX,
    CORE_NAME,
    ContentDatabase,
    CoreDatabase,
    DatabaseDelivery,
    Databases,
    DeliveredDatabase,
    Receiver,
)
from dpe_operator.api.pods import EnvVar, Volume
from dpe_operator.builders.context import Manifest

VOLUME_PREFIX = "dpe-database-"


def delivered(databases: Databases | None, receiver: Receiver) -> tuple[DeliveredDatabase, ...]:
    """Return what the components of one kind are given of the site's databases, core first."""
    if databases is None:
        return ()
    entries: list[CoreDatabase | ContentDatabase] = [databases.core] if databases.core else []
    entries += databases.content
    return tuple(
        _delivered(entry)
        for entry in entries
        if receiver in entry.deliver_to and (entry.env or entry.mount_path is not None)
    )


def _delivered(entry: CoreDatabase | ContentDatabase) -> DeliveredDatabase:
    fields: dict[str, Any] = {"name": delivery_name(entry), "secret_ref": entry.secret_ref}
    if isinstance(entry, CoreDatabase):
        fields["members"] = entry.members
    fields |= {"env": entry.env, "mount_path": entry.mount_path}
    # only what is there: it is written into the DpeServer
    return DeliveredDatabase(**{key: value for key, value in fields.items() if value})


def delivery_name(entry: DatabaseDelivery) -> str:
    """Return the name by which a database's volume is told from others."""
    return f"{CONTENT_PREFIX}{entry.name}" if isinstance(entry, ContentDatabase) else CORE_NAME


def secret_for(database: DeliveredDatabase, member: str | None) -> str | None:
    """Return the Secret that a pod is given, None: none. `member` is that of the pod, if any."""
    if database.secret_ref is not None:
        return database.secret_ref.name
    own = (entry.secret_ref.name for entry in database.members if entry.name == member)
    return next(own, None)


def database_env(
    databases: Iterable[DeliveredDatabase], *, member: str | None
) -> tuple[EnvVar, ...]:
    """Return the variables out of the Secrets; a component's own of the same name come later."""
    return tuple(
        _variable(entry.name, secret, entry.key)
        for database in databases
        if (secret := secret_for(database, member)) is not None
        for entry in database.env
    )


def _variable(name: str, secret: str, key: str) -> EnvVar:
    source: Manifest = {"secretKeyRef": {"name": secret, "key": key}}
    return EnvVar.model_validate({"name": name, "valueFrom": source})


def database_volumes(
    databases: Iterable[DeliveredDatabase], *, member: str | None
) -> tuple[Volume, ...]:
    """Return the volumes with the Secrets' entries as files."""
    return tuple(
        Volume(
            name=f"{VOLUME_PREFIX}{database.name}",
            mount_path=database.mount_path,
            secret_name=secret,
        )
        for database in databases
        if database.mount_path is not None and (secret := secret_for(database, member)) is not None
    )
