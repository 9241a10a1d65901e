# SPDX-License-Identifier: Apache-2.0
"""Looks at database references where their Secrets are mounted: in a Job, never in the operator.

Standard library only, so that what handles Secrets can be read in one sitting. Nothing of a Secret
leaves this package but codes out of `report`: no value, no host name, no text of an error.
"""
