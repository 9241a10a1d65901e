# SPDX-License-Identifier: Apache-2.0
"""Measures fail-overs on the kind cluster and publishes the figures; `hack/bench` runs it."""
