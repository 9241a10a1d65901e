# SPDX-License-Identifier: Apache-2.0
"""Flags, environment, the annotation's form, the link, and the small files of our own."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.memory.memory_site import FOLDER, OWNER, FakeApi

from dpe_elector.api_client import ApiError, ApiUnreachable
from dpe_elector.lease import HIGHEST_LIFT
from dpe_memory import words
from dpe_memory.decision import Foreign, Loss, Lost, Start, Why
from dpe_memory.handover import LinkBlocked, environment_of, point
from dpe_memory.holding import Holder, Holding, LeaseFailed, NotHolder
from dpe_memory.layout import (
    Mark,
    Memory,
    Owner,
    decode_mark,
    decode_owner,
    epoch_name,
    epoch_of,
    loss_token,
    new_name,
    new_of,
)
from dpe_memory.report import LONGEST_MESSAGE, Report, State, shortened, with_report
from dpe_memory.settings import SettingsRefused, parse

ROOT = Path(__file__).resolve().parents[3]
FLAGS = [
    *("--volume", "/dpe-memory", "--folder", FOLDER, "--owner", OWNER),
    *("--link", "/var/lib/dpe/memory/", "--lease", "x"),
]
POD = {
    "DPE_ELECTOR_EPOCH": "7",
    "DPE_MEMORY_POD_NAMESPACE": "studio",
    "DPE_MEMORY_POD_NAME": "news-0",
    "DPE_MEMORY_POD_UID": "u-1",
}


# --- flags


def test_flags_and_downward_api() -> None:
    found = parse([*FLAGS, "--", "/bin/watcher", "--", "-x"], POD)
    assert found.command == ("/bin/watcher", "--", "-x")
    assert (found.namespace, found.pod, found.uid, found.epoch) == ("studio", "news-0", "u-1", 7)
    assert (found.link, found.on_loss, found.wait) == ("/var/lib/dpe/memory", "Stop", 120.0)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--owner", "studio/news"], "namespace/Kind/name"),
        (["--owner", "studio/../news"], "namespace/Kind/name"),
        (["--folder", "a/b"], "--folder 'a/b' is not a plain name"),
        (["--folder", ".."], "--folder '..' is not a plain name"),
        (["--volume", "memory"], "--volume 'memory' is not an absolute path"),
        (["--link", "/"], "--link"),
        (["--wait", "-1"], "--wait -1 is not within 0 to 3600 seconds"),
        (["--on-loss", "Maybe"], "--on-loss"),
        (["--own", "x"], "unrecognized arguments"),
    ],
)
def test_flags_that_cannot_be_used(more: list[str], message: str) -> None:
    with pytest.raises(SettingsRefused, match=message.replace("(", r"\(")):
        parse([*FLAGS, *more, "--", "true"], POD)


@pytest.mark.parametrize("epoch", ["", "0", "-1", "x", "²"])
def test_without_an_epoch_nothing_is_prepared(epoch: str) -> None:
    with pytest.raises(SettingsRefused, match="has to be the command of dpe-elector"):
        parse([*FLAGS, "--", "true"], {**POD, "DPE_ELECTOR_EPOCH": epoch})


def test_without_namespace_or_command() -> None:
    with pytest.raises(SettingsRefused, match="no namespace"):
        parse([*FLAGS, "--", "true"], {"DPE_ELECTOR_EPOCH": "1"})
    with pytest.raises(SettingsRefused, match="no command"):
        parse(FLAGS, POD)


def test_the_program_refuses_in_one_line_and_knows_help() -> None:
    run = [sys.executable, "-I", "-B", "-S", str(ROOT / "operator/dpe_memory")]
    done = subprocess.run([*run, "--", "true"], env={}, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("dpe-memory: ") and done.stderr.count("\n") == 1
    assert subprocess.run([*run, "--help"], env={}, capture_output=True).returncode == 0
    done = subprocess.run([*run, *FLAGS, "--", "true"], env=POD, capture_output=True, text=True)
    assert (done.returncode, "no API server" in done.stderr) == (2, True)


def test_nothing_is_used_that_is_imported_behind_our_back() -> None:
    """Into foreign images goes only what import statements name (images/dpe-elector)."""
    for source in (ROOT / "operator/dpe_memory").glob("*.py"):
        text = source.read_text().replace("time.strptime imports a module", "")
        for hidden in ("strptime", "unicode_escape", "importlib", "idna"):
            assert hidden not in text, f"{source.name}: {hidden}"


# --- handing over


def test_the_command_s_environment() -> None:
    before = {**POD, "DPE_MEMORY_PATH": "/var/lib/dpe/memory", "PATH": "/bin"}
    assert environment_of(before, 58) == {
        "DPE_ELECTOR_EPOCH": "58",
        "DPE_MEMORY_PATH": "/var/lib/dpe/memory",
        "PATH": "/bin",
    }


def test_the_link_replaces_links_and_nothing_else(root: Path) -> None:
    link = root / "memory"
    (root / ".memory.new").symlink_to("left by one that died")
    for target in ("first", "second"):
        point(str(link), target)
        assert os.readlink(link) == target
    assert [path.name for path in root.iterdir()] == ["memory"]
    link.unlink()
    link.write_text("a file")
    with pytest.raises(LinkBlocked, match=r"memory\.mountPath"):
        point(str(link), "third")
    with pytest.raises(FileNotFoundError):
        point(str(root / "nowhere" / "memory"), "third")


# --- small files


@given(st.integers(1, 10**18 - 1))
def test_names_are_read_as_they_are_written(epoch: int) -> None:
    assert epoch_of(epoch_name(epoch)) == new_of(new_name(epoch)) == epoch


@pytest.mark.parametrize(
    "name",
    ["epoch-0", "epoch-01", "epoch--1", "epoch-1 ", "epoch-", "Epoch-1", "epoch-²", "xepoch-1"],
)
def test_other_names_are_not_ours(name: str) -> None:
    assert epoch_of(name) == 0
    assert new_of(f".{name}.new") == 0


def test_marks_and_owners_are_read_as_they_are_written() -> None:
    memory = Memory(12, 11, 3, 4, "sha256:x", "2025-11-25T20:15:00Z")
    mark = Mark(memory, OWNER, 2, settled=False)
    assert decode_mark(mark.encode()) == mark
    assert decode_owner(Owner(OWNER, memory).encode()) == Owner(OWNER, memory)
    assert decode_owner(Owner(OWNER).encode()) == Owner(OWNER)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xff\x00", b"[", b"{", b"[]", b"null", b"1", b'"x"', b'[{"epoch": 1}]', b"{}"),
        b'{"epoch":' + b"[" * 60000,
    ],
    ids=range(11),
)
def test_what_is_no_mark_is_none(content: bytes) -> None:
    assert decode_mark(content) is None
    assert decode_owner(content) == Owner("unknown")


def test_a_mark_by_hand_needs_an_epoch_and_an_owner_only() -> None:
    assert decode_mark(b'{"epoch": 1, "owner": "a/B/c"}') == Mark(Memory(1), "a/B/c")
    assert decode_mark(b'{"epoch": true}') is None


def test_tokens_differ_by_epoch_and_time() -> None:
    tokens = {loss_token(epoch, at) for epoch in (1, 2) for at in ("a", "b")}
    assert len(tokens) == 4
    assert all(token.split("-")[0] in "12" for token in tokens)


# --- the annotation


def test_a_report_keeps_the_last_memory_and_is_not_repeated() -> None:
    memory = Memory(12, 11, 3, 4, "sha256:x", "2025-11-25T20:15:00Z")
    ready = Report(State.READY, "Carried", "m", memory)
    notes = with_report({"other": "x"}, ready, pod="a", at="t1")
    assert notes is not None
    assert notes["other"] == "x"
    assert json.loads(notes["dpe.dev/memory"]) == {
        **{"state": "Ready", "reason": "Carried", "message": "m", "since": "t1", "pod": "a"},
        **{"epoch": 12, "from": 11, "files": 3, "bytes": 4, "digest": "sha256:x"},
        "at": "2025-11-25T20:15:00Z",
    }
    assert with_report(notes, ready, pod="b", at="t2") is None
    lost = words.refusal(Lost(Loss.OLDER, 12, "12-abcdef", 9, 3), OWNER, "/v/f")
    notes = with_report(notes, lost, pod="b", at="t2")
    assert notes is not None
    found = json.loads(notes["dpe.dev/memory"])
    assert (found["state"], found["epoch"], found["from"]) == ("Lost", 12, 11)
    assert (found["lost"], found["token"], found["left"]) == (12, "12-abcdef", 9)


def test_broken_annotations_count_as_none() -> None:
    report = Report(State.FAILED, "DiskFull", "m")
    for broken in ("", "x", "[]", '"x"', '{"epoch": "x"}'):
        notes = with_report({"dpe.dev/memory": broken}, report, pod="a", at="t")
        assert notes is not None
        assert "epoch" not in json.loads(notes["dpe.dev/memory"])


@given(st.text(), st.integers(10, 50))
def test_messages_are_one_printable_line_of_a_limited_length(text: str, most: int) -> None:
    found = shortened(text, most)
    assert len(found) <= most
    assert found.isprintable()


def test_names_that_are_no_text_can_be_shown() -> None:
    odd = os.fsdecode(b"\xff\n")
    report = words.failed(OSError(errno.EIO, "Input/output error", f"/v/{odd}"))
    json.dumps(report.message).encode()
    assert "\n" not in report.message


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "DiskFull"),
        (errno.EDQUOT, "DiskFull"),
        (errno.EACCES, "NotAllowed"),
        (errno.EROFS, "ReadOnly"),
        (errno.ENOENT, "Missing"),
        (errno.EIO, "VolumeFailed"),
    ],
)
def test_failures_have_a_reason_and_a_cure(number: int, reason: str) -> None:
    report = words.failed(OSError(number, os.strerror(number), "/v/f"))
    assert (report.state, report.reason) == (State.FAILED, reason)
    assert report.message.startswith("/v/f: ")


def test_no_message_is_cut() -> None:
    long = "n" * 63
    owner, path = f"{long}/WorkflowFolderWatcher/{long}", f"/dpe-memory/{'f' * 80}"
    reports = [words.refusal(Foreign(owner), owner, path)]
    for loss in Loss:
        reports.append(words.refusal(Lost(loss, 10**6, "1000000-abcdef", 9, 10**6), owner, path))
    reports.append(words.restoring(Start(10**6, Why.CARRIED), "1000000-abcdef", path, 10.0))
    assert all(len(report.message) <= LONGEST_MESSAGE for report in reports)


# --- the Lease


class Failing(FakeApi):
    def __init__(self, path: Path, *failures: Exception) -> None:
        super().__init__(path)
        self.failures = list(failures)

    def get(self, _path: str, *, timeout: float = 10.0) -> dict[str, Any]:
        if self.failures:
            raise self.failures.pop(0)
        return super().get(_path, timeout=timeout)


def holding(api: FakeApi, uid: str = "u-1", epoch: int = 7) -> Holding:
    return Holding(api, "studio", "x", Holder("a", uid, epoch), lambda _: None)


def test_an_api_server_that_is_away_for_a_moment_is_asked_again(root: Path) -> None:
    api = Failing(root / "lease", ApiUnreachable("no"), ApiError(500, "InternalError", "no"))
    api.edit({"dpe.dev/adopt-memory": "x"}, holderIdentity="u-1_abc", leaseTransitions=7)
    assert holding(api).read().adopts == "x"
    assert api.failures == []


@pytest.mark.parametrize("status", [403, 404])
def test_what_will_not_change_is_not_asked_again(root: Path, status: int) -> None:
    api = Failing(root / "lease", *[ApiError(status, "No", "no")] * 2)
    with pytest.raises(LeaseFailed, match="Lease x"):
        holding(api).read()
    assert len(api.failures) == 1


def test_patience_ends(root: Path) -> None:
    api = Failing(root / "lease", *[ApiUnreachable("no")] * 5)
    with pytest.raises(LeaseFailed):
        holding(api).read(patience=-1.0)


@pytest.mark.parametrize(
    ("holder", "epoch", "uid", "ours"),
    [
        ("u-1_abc", 7, "u-1", True),
        ("u-1_abc", 9, "u-1", True),  # somebody has lifted it
        ("u-2_abc", 7, "u-1", False),
        ("u-11_abc", 7, "u-1", False),
        ("", 7, "u-1", False),
        ("whoever", 7, "", True),
        ("whoever", 6, "", False),
        ("", 7, "", False),
    ],
)
def test_who_is_the_holder(root: Path, holder: str, epoch: int, uid: str, ours: bool) -> None:
    api = FakeApi(root / "lease")
    api.edit(holderIdentity=holder, leaseTransitions=epoch)
    if ours:
        holding(api, uid).read()
    else:
        with pytest.raises(NotHolder):
            holding(api, uid).read()


def test_a_lift_that_was_done_already_is_found(root: Path) -> None:
    """The answer to the first PUT was lost on its way."""
    api = FakeApi(root / "lease")
    api.edit(holderIdentity="u-1_a", leaseTransitions=58)
    assert holding(api).lift(57) == 58
    assert api.puts == 0
    assert holding(api).lift(58) == 59


def test_a_lease_is_not_lifted_to_where_it_could_not_be_taken_any_more(root: Path) -> None:
    api = FakeApi(root / "lease")
    api.edit(holderIdentity="u-1_a", leaseTransitions=7)
    assert holding(api).lift(HIGHEST_LIFT) == HIGHEST_LIFT + 1
    for above in (HIGHEST_LIFT + 1, 20251127101500):
        with pytest.raises(LeaseFailed, match="another name"):
            holding(api).lift(above)
    assert api.lease["spec"]["leaseTransitions"] == HIGHEST_LIFT + 1


def test_a_lift_repairs_an_epoch_that_was_put_in_by_hand(root: Path) -> None:
    api = FakeApi(root / "lease")
    record = {"dpe.dev/elector-record": '{"epoch": 7}'}
    api.edit(record, holderIdentity="u-1_a", leaseTransitions=2**31 - 1)
    assert holding(api).lift(57) == 58
    assert api.lease["spec"]["leaseTransitions"] == 58


def test_the_lease_keeps_all_that_others_wrote(root: Path) -> None:
    api = FakeApi(root / "lease")
    api.edit({"a": "b"}, holderIdentity="u-1_a", leaseTransitions=7, leaseDurationSeconds=15)
    before = api.lease
    held = holding(api)
    held.lift(57)
    held.report(Report(State.READY, "Carried", "m", Memory(58)))
    after = api.lease
    assert after["spec"] == {**before["spec"], "leaseTransitions": 58}
    assert after["metadata"]["annotations"]["a"] == "b"
    assert set(after["metadata"]["annotations"]) == {"a", "dpe.dev/memory"}
