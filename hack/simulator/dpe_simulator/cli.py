# SPDX-License-Identifier: Apache-2.0
"""Command line: dpe-simulator server|processor|worker|scheduler|...

The code of a subcommand is imported when it is called: what takes over from another process should
not first load a database driver that it does not need.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence

from dpe_simulator import options

_RETRY = "Tries again as DPE_RETRY_ATTEMPTS, DPE_RETRY_INITIAL_BACKOFF and their like say."
_SERVERS, _COMPONENTS = "commands", "component_commands"
_CONTENT, _CHECK = "content_commands", "check_command"
# name, module and options, text
_COMMANDS = (
    ("server", _SERVERS, options.SERVER, "A DPE Server over a real PostgreSQL."),
    ("processor", _COMPONENTS, options.PROCESSOR, f"A DPE processor. {_RETRY}"),
    ("worker", _COMPONENTS, options.WORKER, f"A worker: activities of workflows. {_RETRY}"),
    ("scheduler", _COMPONENTS, options.SCHEDULER, f"A scheduler: workflows by the clock. {_RETRY}"),
    ("table-watcher", _CONTENT, options.TABLE_WATCHER,
     f"A table watcher: a workflow for each change of an entry. {_RETRY}"),
    ("folder-watcher", _COMPONENTS, options.FOLDER_WATCHER,
     f"A folder watcher: a workflow for each change of a file. {_RETRY}"),
    ("client", _SERVERS, options.CLIENT, f"A client: load, or verified workflows. {_RETRY}"),
    ("entries", _CONTENT, options.ENTRIES, "Changes entries in the content database."),
    ("files", _CONTENT, options.FILES, "Changes files in a watched folder."),
    ("certs", _SERVERS, options.CERTS, "An authority and a server certificate, by openssl."),
    ("check", _CHECK, options.CHECK, "Faults of the topology (exit status 1) and DPE's limits."),
)  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """Make the parser of all subcommands."""
    parser = argparse.ArgumentParser(
        prog="dpe-simulator", description="Stand-in for DPE: a test tool and a demo payload."
    )
    subcommands = parser.add_subparsers(dest="command", required=True)
    for name, module, known, text in _COMMANDS:
        subcommand = subcommands.add_parser(name, help=text, description=text)
        subcommand.set_defaults(module=module)
        for option in known:
            option.add_to(subcommand)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status, 2 for a wrong setting."""
    parsed = build_parser().parse_args(arguments)
    module = importlib.import_module(f"dpe_simulator.{parsed.module}")
    run: Callable[[argparse.Namespace], int] = getattr(module, parsed.command.replace("-", "_"))
    try:
        return run(parsed)
    except module.TROUBLE as problem:
        print(f"dpe-simulator {parsed.command}: {problem}", file=sys.stderr)
        return 2
