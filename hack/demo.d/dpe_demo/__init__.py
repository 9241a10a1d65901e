# SPDX-License-Identifier: Apache-2.0
"""What stands behind hack/demo; standard library only, so that it runs on a fresh machine."""
