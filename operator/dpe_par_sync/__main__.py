# SPDX-License-Identifier: Apache-2.0
"""Entry point: `dpe-par-sync --config FILE`.

Exit status: 0 Succeeded, 1 Failed, 2 the config cannot be used, 3 Refused.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dpe_elector.api_client import ApiClient, ApiFailure
from dpe_par_sync import publish, supervisor
from dpe_par_sync.config import Config, ConfigInvalid, load
from dpe_par_sync.places import Adoption
from dpe_par_sync.result import Failed, Outcome, Result
from dpe_par_sync.run import Run

_ABOUT = {"pod": "POD_NAME", "job": "JOB_NAME"}
_READ_SECONDS = 20.0


def main() -> int:
    """Make one run and report it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="dpe-par-sync", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="JSON, written by the operator")
    path: Path = parser.parse_args().config
    template = _template(os.environ)
    started = time.monotonic()
    try:
        config = load(path)
    except ConfigInvalid as wrong:
        result = replace(
            template,
            reason="ConfigInvalid",
            message=str(wrong),
            finished_at=_text_of(time.time()),
        )
        _note(publish.write_termination_message("/dev/termination-log", result))
        print(result.line(), flush=True)
        return result.exit_status
    about = (("run", _run_name()), ("store", config.store), ("redundant", config.redundant.name))
    template = replace(template, about=(*about, *template.about))
    api = _api(config)
    adoption = _adoption(config, api)
    result = _run(config, adoption, template, started)
    # from here on it is told to all who want to know; a second signal changes nothing
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # a text has counted once a run with it was not refused, whether it was needed or not, unless it
    # could not be judged
    counted = result.outcome is Outcome.SUCCEEDED and adoption.used is not None
    _publish(config, result, api, adoption.text if counted else "")
    return result.exit_status


def _run(config: Config, adoption: Adoption, template: Result, started: float) -> Result:
    def finished(result: Result) -> Result:
        return replace(
            result, finished_at=_text_of(time.time()), seconds=time.monotonic() - started
        )

    def work() -> bytes:
        # the only part that touches the volumes
        try:
            run = Run(config, adoption, dict(template.about)["run"])
            result = finished(run.result(template))
            run.record(result)
        except Exception as wrong:
            traceback.print_exc()
            message = f"{type(wrong).__name__}: {wrong}. Please report this with the pod's log."
            result = finished(replace(template, reason="InternalError", message=message))
        return supervisor.encode(result)

    try:
        result = supervisor.decode(supervisor.supervised(work, config.max_run_seconds))
        assert isinstance(result, Result)
    except Failed as failed:
        return finished(replace(template, reason=failed.reason, message=str(failed)))
    return result


def _publish(config: Config, result: Result, api: ApiClient | None, adopt: str) -> None:
    _note(publish.write_termination_message(config.termination_message, result))
    if api is not None:
        _note(
            publish.write_lease(
                api,
                publish.lease_path(config.namespace, config.lease),
                lambda lease: publish.with_result(lease, result, adopt),
            )
        )
    print(result.line(), flush=True)


def _api(config: Config) -> ApiClient | None:
    if not config.lease:
        return None
    try:
        return ApiClient.from_environment()
    except ValueError as wrong:
        _note(f"the result cannot be written to the Lease {config.lease}: {wrong}")
        return None


def _adoption(config: Config, api: ApiClient | None) -> Adoption:
    """Find out which accepting texts have counted; asked only if there is one to be judged."""
    if not config.adopt or not config.lease:
        return Adoption(config.adopt, frozenset())
    until = time.monotonic() + _READ_SECONDS
    while api is not None and time.monotonic() < until:
        try:
            lease = api.get(publish.lease_path(config.namespace, config.lease), timeout=5.0)
            return Adoption(config.adopt, publish.adopted_texts(lease))
        except ApiFailure as failure:
            _note(f"the Lease {config.lease} cannot be read: {failure}")
            time.sleep(1.0)
    return Adoption(config.adopt, None)


def _template(environment: Mapping[str, str]) -> Result:
    now = _text_of(time.time())
    return Result(
        outcome=Outcome.FAILED,
        reason="",
        message="",
        started_at=now,
        finished_at=now,
        seconds=0.0,
        about=tuple((key, environment.get(name, "")) for key, name in _ABOUT.items()),
    )


def _run_name() -> str:
    """Return a name that sorts by time: the folder of the run in the history."""
    now = time.time()
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{int(now % 1 * 65536):04x}"


def _text_of(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _note(line: str) -> None:
    if line:
        print(f"dpe-par-sync: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
