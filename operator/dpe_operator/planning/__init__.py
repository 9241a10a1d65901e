# SPDX-License-Identifier: Apache-2.0
"""The pure core: from a spec and what is observed to a plan. No I/O, no clock, no randomness."""
