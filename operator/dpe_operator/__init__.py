# SPDX-License-Identifier: Apache-2.0
"""The DPE operator: turns DpeCluster, DpeServer and ProcessorFarm into what runs in Kubernetes."""
