# SPDX-License-Identifier: Apache-2.0
"""Names that other programs see: group, kinds, labels, annotations, field managers.

They live in one place because a renamed label or annotation breaks running installations; nobody
writes them a second time.
"""

from __future__ import annotations

from typing import Final

GROUP: Final = "dpe.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
CATEGORY: Final = "dpe-all"

KIND_CLUSTER: Final = "DpeCluster"
KIND_SERVER: Final = "DpeServer"
KIND_FARM: Final = "ProcessorFarm"
KIND_WORKER: Final = "WorkflowWorker"
KIND_SCHEDULER: Final = "WorkflowScheduler"
KIND_TABLE_WATCHER: Final = "WorkflowTableWatcher"
KIND_FOLDER_WATCHER: Final = "WorkflowFolderWatcher"
KIND_PAR_STORE: Final = "ParStore"
WORKFLOW_KINDS: Final = (KIND_WORKER, KIND_SCHEDULER, KIND_TABLE_WATCHER, KIND_FOLDER_WATCHER)

# The finalizer name we give to kopf. It is never put on anything: it only has to differ from kopf's
# own default, or our operator would take other kopf operators' finalizers away.
FINALIZER: Final = f"{GROUP}/kopf"

MANAGER: Final = "dpe-operator"
MANAGER_STATUS: Final = "dpe-operator-status"
MANAGER_REPLICAS: Final = "dpe-operator-replicas"

LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_NAME: Final = "app.kubernetes.io/name"
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
LABEL_INSTANCE: Final = "app.kubernetes.io/instance"
LABEL_PART_OF: Final = "app.kubernetes.io/part-of"
LABEL_OWNER_KIND: Final = f"{GROUP}/owner-kind"
LABEL_MEMBER: Final = f"{GROUP}/member"
# Only on claims that outlive their resource: a copy restored into another namespace is not ours.
LABEL_OWNER_NAMESPACE: Final = f"{GROUP}/owner-namespace"
# On pods of workflow components: `standby` or `concurrent`; never part of a selector.
LABEL_MODE: Final = f"{GROUP}/mode"
# On check Jobs and their pods: digest of the database references that were looked at.
LABEL_REFERENCES_HASH: Final = f"{GROUP}/references-hash"

MANAGED_BY: Final = "dpe-operator"
APP_NAME: Final = "dpe"

COMPONENT_MEMBER: Final = "member"
COMPONENT_BALANCER: Final = "balancer"
COMPONENT_PROCESSOR: Final = "processor"
COMPONENT_CLIENT_PROFILE: Final = "client-profile"
COMPONENT_SERVER: Final = "server"
COMPONENT_FARM: Final = "farm"
COMPONENT_WORKER: Final = "worker"
COMPONENT_SCHEDULER: Final = "scheduler"
COMPONENT_TABLE_WATCHER: Final = "table-watcher"
COMPONENT_FOLDER_WATCHER: Final = "folder-watcher"
# of the resources that a DpeCluster makes, whatever their kind
COMPONENT_WORKFLOW: Final = "workflow"
COMPONENT_DATABASE_CHECK: Final = "database-check"

COMPONENT_PAR_STORE: Final = "par-store"
COMPONENT_PAR_SYNC: Final = "par-sync"
COMPONENT_PAR_MASTER: Final = "par-master"
COMPONENT_PAR_REDUNDANT: Final = "par-redundant"
COMPONENT_PAR_REGISTRY: Final = "par-registry"

# written by users on DpeCluster and DpeServer
ANNOTATION_SWITCH_TO: Final = f"{GROUP}/switch-to"
ANNOTATION_APPROVE_UPGRADE: Final = f"{GROUP}/approve-upgrade"
ANNOTATION_RECONCILE: Final = f"{GROUP}/reconcile"
RECONCILE_DISABLED: Final = "disabled"
# written by users on a DpeCluster: any new value lets the databases' Secrets be looked at again
ANNOTATION_CHECK_DATABASES: Final = f"{GROUP}/check-databases"
# written by users on watchers in Standby mode, and passed on to their Lease
ANNOTATION_ACCEPT_MEMORY_LOSS: Final = f"{GROUP}/accept-memory-loss"
ANNOTATION_ADOPT_MEMORY: Final = f"{GROUP}/adopt-memory"
# written by users on DpeCluster and ParStore: any new text asks for one run, or accepts the two
# locations as a pair
ANNOTATION_SYNC_NOW: Final = f"{GROUP}/sync-now"
ANNOTATION_ADOPT_PAR: Final = f"{GROUP}/adopt-par"

# written by the operator on what it applies
ANNOTATION_INTENT_HASH: Final = f"{GROUP}/intent-hash"
ANNOTATION_SWITCH_REQUEST: Final = f"{GROUP}/switch-request"

# written by the balancer agent on its EndpointSlice, the record of the fail-over
ANNOTATION_EPOCH: Final = f"{GROUP}/epoch"
ANNOTATION_ACTIVE_MEMBER: Final = f"{GROUP}/active-member"
ANNOTATION_ACTIVE_SINCE: Final = f"{GROUP}/active-since"
ANNOTATION_SWITCH_COUNT: Final = f"{GROUP}/switch-count"
ANNOTATION_LAST_SWITCH: Final = f"{GROUP}/last-switch"
ANNOTATION_UNPLANNED_SWITCHES: Final = f"{GROUP}/unplanned-switches"
ANNOTATION_MEMBER_STATES: Final = f"{GROUP}/member-states"

# written by the elector on the Lease of a Standby component: who holds it, and what became of a
# watcher's memory
ANNOTATION_ELECTOR_RECORD: Final = f"{GROUP}/elector-record"
ANNOTATION_MEMORY: Final = f"{GROUP}/memory"

# written by the PAR sync on its Lease: how the last run ended, how the last good one did
ANNOTATION_PAR_RESULT: Final = f"{GROUP}/par-sync-result"
ANNOTATION_PAR_LAST_SUCCESS: Final = f"{GROUP}/par-sync-last-success"

LABEL_SERVICE_NAME: Final = "kubernetes.io/service-name"
LABEL_SLICE_MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
SLICE_MANAGED_BY: Final = f"elector.{GROUP}"

CONDITION_ACCEPTED: Final = "Accepted"
CONDITION_READY: Final = "Ready"
CONDITION_PROGRESSING: Final = "Progressing"
CONDITION_DEGRADED: Final = "Degraded"

# A farm whose `replicas` nobody has set gets this many: one may fail, one goes on. It is a default
# of the code and not of the schema, because `kubectl scale` and autoscalers own the field then.
DEFAULT_REPLICAS: Final = 2

# The environment variable that gives every component the balancer's URL, unless
# `clients.serviceRootEnv` names another one.
DEFAULT_SERVICE_ROOT_ENV: Final = "DPE_SERVICE_ROOT"
DEFAULT_RETRY_ENV_PREFIX: Final = "DPE_RETRY_"

# Variables that hand the declared values of a workflow component to DPE.
ENV_SCHEDULE: Final = "DPE_SCHEDULE"
ENV_TIME_ZONE: Final = "DPE_TIME_ZONE"
ENV_TITLE_TEMPLATE: Final = "DPE_TITLE_TEMPLATE"
ENV_MEMORY_PATH: Final = "DPE_MEMORY_PATH"
ENV_MEMBER: Final = "DPE_WORKFLOW_MEMBER"

# Longest names of resources: what is made from them must fit into 63 characters.
MAX_NAME: Final = 30
MAX_FARM_NAME: Final = 52
MAX_WORKFLOW_NAME: Final = 46
MAX_PAR_STORE_NAME: Final = 40
MAX_PART: Final = 20
MAX_WORKFLOW_PART: Final = 15
