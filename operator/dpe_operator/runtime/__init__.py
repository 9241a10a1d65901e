# SPDX-License-Identifier: Apache-2.0
"""The running operator: kopf as informer, the queue, the reconcile loop, health and metrics.

kopf is imported in this package only, so that it could be replaced.
"""
