# SPDX-License-Identifier: Apache-2.0
"""Promise: PAR files are copied to the redundant location, and nothing that people wrote is destroyed."""

import time
from collections.abc import Iterator

import pytest
from tests.e2e.kubectl import eventually
from tests.e2e.operator_release import OperatorRelease
from tests.e2e.par_files import MASTER, REDUNDANT, Store
from tests.e2e.site import Site

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def store(whole_site: Site) -> Iterator[Store]:
    found = Store(whole_site)
    found.make(whole_site.name, {"GLOBAL.PAR": "global\n", "users/anna.par": "anna\n"})
    yield found
    found.remove()


def test_first_run_copies_everything(store: Store) -> None:
    run = store.ask()
    assert (run["result"], run["reason"]) == ("Succeeded", "FirstCopy"), store.describe()
    assert store.copy() == {"GLOBAL.PAR": "global\n", "users/anna.par": "anna\n"}
    assert run["verified"] is True and run["files"] == 2
    assert store.condition("Synced")["status"] == "True", store.describe()


def test_change_reaches_the_copy_on_demand(store: Store) -> None:
    text = f"changed {time.time()}\n"  # a repeated test must change something again
    store.volumes.write(MASTER, {"GLOBAL.PAR": text, "new.par": text})
    run = store.ask()
    assert (run["result"], run["copied"]) == ("Succeeded", 2), store.describe()
    assert store.copy()["GLOBAL.PAR"] == text


def test_edit_on_the_redundant_side_is_kept_and_reported(store: Store) -> None:
    path = store.volumes.folder(REDUNDANT) / "current" / "users" / "anna.par"
    path.write_text("edited while the master was away\n")
    run = store.ask()
    assert run["divergent"] == {"count": 1, "names": ["users/anna.par"]}, run
    assert store.copy()["users/anna.par"] == "edited while the master was away\n"
    shown = eventually(
        lambda: c if (c := store.condition("Divergent"))["status"] == "True" else None,
        timeout=20, what="condition Divergent", describe=store.describe,
    )  # fmt: skip
    assert "users/anna.par" in shown["message"]


def test_empty_master_empties_nothing(store: Store) -> None:
    before = store.copy()
    master = store.volumes.folder(MASTER)
    kept = {path: path.read_bytes() for path in master.rglob("*.[pP][aA][rR]")}
    for path in kept:
        path.unlink()
    try:
        run = store.ask()
        assert (run["result"], run["reason"]) == ("Refused", "MasterEmpty"), store.describe()
        assert store.copy() == before
        assert store.condition("Synced")["status"] == "False"
    finally:
        for path, content in kept.items():
            path.write_bytes(content)


def test_copy_runs_without_the_operator(store: Store, operator: OperatorRelease) -> None:
    """The nightly run is a CronJob's; the result is kept where it needs no operator."""
    store.volumes.write(MASTER, {"night.par": "written at night\n"})
    job = f"at-night-{time.time():.0f}"
    with operator.absent():
        cron_job = store.kube.list("cronjob", {"app.kubernetes.io/instance": "files"})[0]
        name = cron_job["metadata"]["name"]
        store.kube.run("create", "job", job, f"--from=cronjob/{name}")
        words = ("--for=condition=Complete", f"job/{job}", "--timeout=180s")
        store.kube.run("wait", *words, timeout=190)
        assert store.copy()["night.par"] == "written at night\n"
    eventually(
        lambda: store.last().get("job") == job,
        timeout=180, what="the status tells of the night's run", describe=store.describe,
    )  # fmt: skip
    store.kube.delete("job", job)
