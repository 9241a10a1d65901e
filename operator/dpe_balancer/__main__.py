# SPDX-License-Identifier: Apache-2.0
"""Entry point: `dpe-balancer --config agent.json`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import threading
from pathlib import Path

from dpe_balancer import metrics
from dpe_balancer.agent import Agent, Fatal
from dpe_balancer.config import load_config, peers_from_environment, pod_from_environment
from dpe_balancer.haproxy import Runtime, open_port
from dpe_balancer.haproxy_text import Names
from dpe_balancer.keeper import Board, Paths, Watcher, Writer
from dpe_balancer.log_lines import log_to_stderr
from dpe_balancer.peer import Peer
from dpe_elector.api_client import ApiClient

log = logging.getLogger("dpe_balancer")


def main() -> int:
    """Run the agent; returns the exit status."""
    parser = argparse.ArgumentParser(prog="dpe-balancer", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="agent.json")
    arguments = parser.parse_args()
    log_to_stderr()
    try:
        return _run(arguments.config)
    except (Fatal, OSError, ValueError) as wrong:
        log.error("%s", wrong)
        return 1
    except Exception:  # Python itself would wait for who reads standard error
        log.exception("the agent ends")
        return 1


def _run(path: Path) -> int:
    config = load_config(path)
    pod, namespace = pod_from_environment(os.environ)
    listener = open_port(config.listen_address, config.listen_port)
    names = Names(config.backend, {member.name: member.id for member in config.members})
    runtime = Runtime(config.run_directory / "haproxy.sock", names)
    board = Board()
    paths = Paths(config, namespace)
    # an ApiClient belongs to one thread
    watcher = Watcher(config, paths, board, ApiClient.from_environment())
    writer = Writer(config, paths, board, ApiClient.from_environment(), pod)
    elsewhere = peers_from_environment(os.environ)
    ports = (config.stats_port, config.metrics_port)
    peer = Peer(board, pod.uid, lambda address: elsewhere.get(address, (address, *ports)))
    agent = Agent(config, pod.uid, board, runtime=runtime, listener=listener, peer=peer)
    metrics.serve(config.listen_address, config.metrics_port, agent.figures, agent.word)
    for name, work in (("watcher", watcher.run), ("writer", writer.run)):
        threading.Thread(target=work, name=name, daemon=True).start()
    peer.start()
    agent.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
