# SPDX-License-Identifier: Apache-2.0
"""The command `dpe-operator`: `run` in the cluster, `crds` and `render` on a desk."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from dpe_operator.cli import probe


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status (2: wrong use or a file that is not usable)."""
    options = _parser().parse_args(arguments)
    return int(options.action(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dpe-operator", description="Kubernetes operator for redundant DPE installations."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run", help="run the operator; settings are environment variables DPE_OPERATOR_..."
    )
    run.set_defaults(action=_run)
    crds = commands.add_parser("crds", help="print the CustomResourceDefinitions, or apply them")
    crds.add_argument(
        "--apply", action="store_true", help="install or upgrade them in the cluster and wait"
    )
    crds.add_argument(
        "--allow-field-loss",
        action="store_true",
        help="with --apply: also if the cluster's CRDs have fields that these lack",
    )
    crds.set_defaults(action=_crds)
    render = commands.add_parser(
        "render", help="print what would be made of a DpeCluster, DpeServer, ..."
    )
    render.add_argument(
        "file", type=Path, help="YAML file with the resources (- for standard input)"
    )
    render.add_argument("--namespace", default="default", help="where the file names none")
    render.add_argument(
        "--balancer-image", default="dpe-balancer:latest", help="image of the balancer pods"
    )
    render.add_argument(
        "--operator-image",
        default="dpe-operator:latest",
        help="image of the Jobs that look at databases' Secrets",
    )
    render.add_argument(
        "--par-sync-image", default="dpe-par-sync:latest", help="image that copies PAR files"
    )
    render.add_argument(
        "--elector-image", default="dpe-elector:latest", help="image of the elector in singletons"
    )
    render.set_defaults(action=_render)
    check = commands.add_parser(
        "database-check", help="look at mounted database Secrets; run by a Job of the operator"
    )
    check.add_argument("--references", required=True, help="JSON list of what to look at")
    check.add_argument(
        "--root", type=Path, default=Path("/run/databases"), help="folder with the mounted Secrets"
    )
    check.add_argument(
        "--result", type=Path, default=Path("/dev/termination-log"), help="file for the result"
    )
    check.set_defaults(action=_database_check)
    prober = commands.add_parser("probe", help="send requests and tell what a client sees")
    probe.add_options(prober)
    prober.set_defaults(action=probe.probe)
    return parser


def _run(_: argparse.Namespace) -> int:
    # imported here: the other commands should answer at once
    from pydantic import ValidationError  # noqa: PLC0415

    from dpe_operator.runtime.health import Unwell  # noqa: PLC0415
    from dpe_operator.runtime.logs import configure  # noqa: PLC0415
    from dpe_operator.runtime.operator import StartupError, run_operator  # noqa: PLC0415
    from dpe_operator.runtime.settings import Settings  # noqa: PLC0415

    try:
        settings = Settings()
    except ValidationError as error:
        for entry in error.errors():
            name = f"DPE_OPERATOR_{entry['loc'][0]}".upper()
            print(f"dpe-operator: {name}: {entry['msg']}", file=sys.stderr)
        return 2
    configure(log_format=settings.log_format, level=settings.log_level)
    try:
        asyncio.run(run_operator(settings))
    except StartupError as error:
        print(f"dpe-operator: {error}", file=sys.stderr)
        return 1
    except Unwell as error:
        logging.getLogger(__name__).critical("the operator ends, to be started anew: %s", error)
        return 1
    return 0


def _crds(options: argparse.Namespace) -> int:
    if options.apply:
        from dpe_operator.cli.crds import apply  # noqa: PLC0415

        return asyncio.run(apply(allow_field_loss=options.allow_field_loss))
    from dpe_operator.crd_schema.definitions import crd_files  # noqa: PLC0415

    print("---\n".join(text for _, text in sorted(crd_files().items())), end="")
    return 0


def _database_check(options: argparse.Namespace) -> int:
    from dpe_operator.cli.database_check import database_check  # noqa: PLC0415

    return database_check(options.references, root=options.root, result=options.result)


def _render(options: argparse.Namespace) -> int:
    from dpe_operator.cli.render import render  # noqa: PLC0415
    from dpe_operator.cli.resources import RenderError, read_resources  # noqa: PLC0415
    from dpe_operator.planning.plan import Environment  # noqa: PLC0415

    try:
        from_input = str(options.file) == "-"
        data = sys.stdin.buffer.read() if from_input else options.file.read_bytes()
        resources = read_resources(data)
        environment = Environment(
            balancer_image=options.balancer_image,
            operator_image=options.operator_image,
            par_sync_image=options.par_sync_image,
            elector_image=options.elector_image,
        )
        made = render(resources, namespace=options.namespace, environment=environment)
    except (OSError, RenderError) as error:
        print(f"dpe-operator: {options.file}: {error}", file=sys.stderr)
        return 2
    print("---\n".join(yaml.safe_dump(obj, sort_keys=False, width=100) for obj in made), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
