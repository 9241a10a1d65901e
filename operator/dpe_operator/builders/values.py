# SPDX-License-Identifier: Apache-2.0
"""Small questions about values, asked in more than one builder."""

import ipaddress


def is_ip_address(text: str) -> bool:
    """Whether ``text`` is an IP address, and not a name that must be looked up."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_device(name: str) -> bool:
    """Whether a resource of a container is an extended one, in Kubernetes' words, such as a GPU."""
    return "/" in name and "kubernetes.io/" not in name
