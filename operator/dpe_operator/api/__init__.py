# SPDX-License-Identifier: Apache-2.0
"""The API of the operator: pydantic models of our kinds, the one source of CRDs and reference docs.

Import from the modules (`constants`, `common`, `pods`, `server`, `processor_farm`, `cluster`,
`clients`, `addresses`, `kinds`); nothing is re-exported here, so that each name has one home.
"""
