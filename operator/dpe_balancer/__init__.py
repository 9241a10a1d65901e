# SPDX-License-Identifier: Apache-2.0
"""The agent beside HAProxy: keeps one DPE Server active and writes down which one.

Standard library only, as it is the last thing that may fail. `decision` and `record` are pure;
`agent` is the loop around them, `haproxy` and `keeper` talk to HAProxy and to the API server.
"""
