# SPDX-License-Identifier: Apache-2.0
"""Everything that talks to the API server: client protocol, apply, prune, events, rights.

The client library is imported in this package only, kopf nowhere in it.
"""
