# SPDX-License-Identifier: Apache-2.0
"""Pure functions from a validated spec to Kubernetes objects.

One file a component. A builder reads no clock, no node, no cluster and no environment: what it
needs stands in its arguments, so the same arguments give the same object on every machine and
after every restart. ``None`` as result means: this object is not wanted (and is pruned if there).
"""
