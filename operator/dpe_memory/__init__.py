# SPDX-License-Identifier: Apache-2.0
"""A watcher's memory on a common volume: one directory for each start, copied from the one before.

Runs between dpe-elector and the watcher, standard library only. See docs/reference/memory.md.
"""
