# SPDX-License-Identifier: Apache-2.0
"""Stand-in for DPE, which cannot be shipped: a test tool, no part of the operator."""
