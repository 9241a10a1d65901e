# SPDX-License-Identifier: Apache-2.0
"""The nightly copy of the parameter files (PAR), around the program rsync.

Steps: plan (`itemize`, `rsync`), decide (`decision`, pure), run (`install`), verify, record.
Standard library only. Why it is built so: docs/adr/0009-par-sync-around-rsync.md.
"""
