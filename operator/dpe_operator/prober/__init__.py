# SPDX-License-Identifier: Apache-2.0
"""The prober: an open-loop load that tells what a client sees of a fail-over.

Standard library only, and it knows nothing of the operator: `dpe-operator probe` runs it, and so do
the simulator's clients, whose image holds this package alone. `measure` and `retry` are pure;
`http_client` and `load` are the thin shell around them.
"""
