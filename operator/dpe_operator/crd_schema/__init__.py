# SPDX-License-Identifier: Apache-2.0
"""CustomResourceDefinitions and the API reference, generated from the models in `dpe_operator.api`.

An own generator, because a CRD's structural schema is a narrow dialect of JSON schema with
extensions (CEL rules, list keys) that no library writes as we need them.
"""
