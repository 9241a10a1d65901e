# SPDX-License-Identifier: Apache-2.0
"""The elector: runs a command for as long as this pod holds a Kubernetes Lease.

Standard library only, so that it can be copied into any Linux image together with an interpreter.
See docs/reference/elector.md for the flags, docs/adr/0002-elector-with-a-guard-as-pid-1.md for the
reasons.
"""
