# SPDX-License-Identifier: Apache-2.0
"""What is done with each path of a plan."""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpe_par_sync.config import DeletionLimit, OnDivergence
from dpe_par_sync.decision import (
    Decision,
    Rules,
    Subject,
    There,
    decide,
    files_on_redundant_side,
    folded,
)
from dpe_par_sync.itemize import Kind, parents
from dpe_par_sync.result import Refused

NOW = 1_000_000.0
OLD = NOW - 3600
ANY = DeletionLimit(100, percent=True)
KEEP = Rules(now=NOW, limit=ANY)
OVERWRITE = replace(KEEP, on_divergence=OnDivergence.OVERWRITE)
STOP = replace(KEEP, on_divergence=OnDivergence.STOP)


def subject(
    path: str,
    kind: Kind,
    there: There = There.NOTHING,
    *,
    changed: float | None = OLD,
    known: bool = False,
) -> Subject:
    return Subject(path.encode(), kind, there, changed, known)


def decided(decision: Decision) -> dict[str, list[str]]:
    """The fields of a decision that are not empty."""
    return {
        field.name: [path.decode() for path in getattr(decision, field.name)]
        for field in fields(decision)
        if field.name != "restored" and getattr(decision, field.name)
    }


@pytest.mark.parametrize(
    ("kind", "there", "fate"),
    [
        (Kind.COPY, There.NOTHING, "copy"),
        (Kind.COPY, There.OURS, "copy"),
        (Kind.COPY, There.FOREIGN, "divergent"),
        (Kind.COPY, There.FOLDER, "copy"),
        (Kind.SAME, There.OURS, "same"),
        (Kind.RETIME, There.OURS, "retime"),
        (Kind.RETIME, There.FOREIGN, "retime"),
        (Kind.DELETE, There.OURS, "delete"),
        (Kind.DELETE, There.FOREIGN, "divergent"),
        (Kind.FOLDER, There.NOTHING, "folders"),
        (Kind.FOLDER, There.FOLDER, "folders"),
        (Kind.FOLDER, There.FOREIGN, "divergent"),
        (Kind.DELETE_FOLDER, There.FOLDER, "remove_folders"),
        (Kind.SKIP, There.NOTHING, "skipped"),
        (Kind.SKIP, There.FOREIGN, "skipped"),
    ],
)
def test_what_happens_to_a_single_path(kind: Kind, there: There, fate: str) -> None:
    assert decided(decide([subject("a", kind, there)], KEEP)) == {fate: ["a"]}


def test_a_file_in_the_way_of_a_folder_is_cleared_first() -> None:
    found = decide([subject("a", Kind.FOLDER, There.OURS), subject("a/b", Kind.COPY)], KEEP)
    assert decided(found) == {"clear": ["a"], "folders": ["a"], "copy": ["a/b"]}
    assert found.deletions == 1


def test_files_in_the_way_of_a_file_are_cleared_first() -> None:
    found = decide(
        [
            subject("a/x", Kind.DELETE, There.OURS),
            subject("a/deep/y", Kind.DELETE, There.OURS),
            subject("a/deep", Kind.DELETE_FOLDER, There.FOLDER),
            subject("a", Kind.COPY, There.FOLDER),
            subject("other", Kind.DELETE, There.OURS),
        ],
        KEEP,
    )
    assert decided(found) == {
        "clear": ["a/deep/y", "a/x"],
        "copy": ["a"],
        "delete": ["other"],
        "remove_folders": ["a/deep"],
    }


def test_a_folder_with_an_edited_file_is_not_replaced_by_a_file() -> None:
    found = decide(
        [subject("a/x", Kind.DELETE, There.FOREIGN), subject("a", Kind.COPY, There.FOLDER)], KEEP
    )
    assert decided(found) == {"divergent": ["a", "a/x"]}


def test_nothing_is_copied_below_an_edited_file() -> None:
    found = decide(
        [
            subject("a", Kind.FOLDER, There.FOREIGN),
            subject("a/b", Kind.COPY, There.FOREIGN),
            subject("a/sub", Kind.FOLDER),
            subject("a/sub/c", Kind.COPY),
            subject("ab", Kind.COPY),
        ],
        KEEP,
    )
    assert decided(found) == {"copy": ["ab"], "divergent": ["a", "a/b", "a/sub", "a/sub/c"]}


def test_folders_are_removed_from_the_deepest_on() -> None:
    found = decide(
        [subject(path, Kind.DELETE_FOLDER, There.FOLDER) for path in ("a", "a/b", "a/b/c")], KEEP
    )
    assert found.remove_folders == (b"a/b/c", b"a/b", b"a")


EDITS = [
    subject("changed", Kind.COPY, There.FOREIGN),
    subject("made", Kind.DELETE, There.FOREIGN),
    subject("plain", Kind.COPY, There.OURS),
]


def test_keep_leaves_edits_in_place() -> None:
    assert decided(decide(EDITS, KEEP)) == {"copy": ["plain"], "divergent": ["changed", "made"]}


def test_overwrite_replaces_edits_and_reports_them() -> None:
    assert decided(decide(EDITS, OVERWRITE)) == {
        "copy": ["changed", "plain"],
        "delete": ["made"],
        "overwritten": ["changed", "made"],
    }


def test_stop_names_the_edits_and_does_nothing() -> None:
    with pytest.raises(Refused) as refused:
        decide(EDITS, STOP)
    assert refused.value.reason == "RedundantEdited"
    assert refused.value.divergent == (b"changed", b"made")
    assert "2 files" in str(refused.value) and "changed, made" in str(refused.value)
    assert "sync.onDivergence" in str(refused.value)


def test_stop_does_not_mind_equal_content() -> None:
    assert decide([subject("a", Kind.RETIME, There.FOREIGN)], STOP).retime == (b"a",)


@pytest.mark.parametrize("kind", [Kind.COPY, Kind.RETIME, Kind.DELETE])
@pytest.mark.parametrize(
    ("age", "deferred"),
    [
        (0, True),
        (59, True),
        (60, False),
        (3600, False),
        # the clock of the machine that wrote it is ahead: by seconds, a time zone, years
        (-5, True),
        (-7200, True),
        (-86399, True),
        (-86401, False),
        (-1e9, False),
    ],
)
def test_a_file_of_a_moment_ago_is_left_for_the_next_run(
    kind: Kind, age: float, deferred: bool
) -> None:
    there = There.NOTHING if kind is Kind.COPY else There.OURS
    found = decide([subject("a", kind, there, changed=NOW - age)], KEEP)
    assert (found.deferred == (b"a",)) is deferred


@pytest.mark.parametrize("age", [0, 59, -5])
def test_without_a_quiet_period_nothing_is_deferred(age: float) -> None:
    found = decide([subject("a", Kind.COPY, changed=NOW - age)], replace(KEEP, quiet=0))
    assert found.copy == (b"a",)


def test_a_file_that_is_gone_again_is_left_for_the_next_run() -> None:
    assert decide([subject("a", Kind.COPY, changed=None)], KEEP).deferred == (b"a",)
    assert decide([subject("a", Kind.COPY, changed=None)], replace(KEEP, quiet=0)).deferred


def test_an_edit_counts_before_the_quiet_period() -> None:
    found = decide([subject("a", Kind.COPY, There.FOREIGN, changed=NOW)], KEEP)
    assert decided(found) == {"divergent": ["a"]}


def test_a_deferred_file_holds_back_what_needs_its_place() -> None:
    found = decide(
        [
            subject("a/x", Kind.DELETE, There.OURS, changed=NOW),
            subject("a", Kind.COPY, There.FOLDER),
        ],
        KEEP,
    )
    assert decided(found) == {"deferred": ["a", "a/x"]}


def test_nothing_is_deleted_when_the_master_could_not_be_read_completely() -> None:
    rules = replace(KEEP, complete=False)
    found = decide(
        [
            subject("gone", Kind.DELETE, There.OURS),
            subject("was-a-file", Kind.FOLDER, There.OURS),
            subject("new", Kind.COPY),
        ],
        rules,
    )
    assert decided(found) == {"copy": ["new"], "deferred": ["gone", "was-a-file"]}


def tree(total: int, deleted: int) -> list[Subject]:
    same = [subject(f"same-{n}", Kind.SAME, There.OURS) for n in range(total - deleted)]
    return same + [subject(f"gone-{n}", Kind.DELETE, There.OURS) for n in range(deleted)]


@pytest.mark.parametrize(
    ("total", "deleted", "limit", "allowed"),
    [
        (100, 10, DeletionLimit(10, percent=True), True),
        (100, 11, DeletionLimit(10, percent=True), False),
        (5, 1, DeletionLimit(10, percent=True), True),
        (5, 2, DeletionLimit(10, percent=True), False),
        (100, 1, DeletionLimit(0, percent=True), False),
        (100, 3, DeletionLimit(3, percent=False), True),
        (100, 4, DeletionLimit(3, percent=False), False),
        (100, 100, DeletionLimit(100, percent=True), True),
        (100, 100, None, True),
    ],
)
def test_more_deletions_than_allowed_end_the_run(
    total: int, deleted: int, limit: DeletionLimit | None, allowed: bool
) -> None:
    rules = replace(KEEP, limit=limit)
    if allowed:
        assert decide(tree(total, deleted), rules).deletions == deleted
        return
    with pytest.raises(Refused) as refused:
        decide(tree(total, deleted), rules)
    assert refused.value.reason == "TooManyDeletions"
    assert f"delete {deleted} of {total} files" in str(refused.value)
    assert f"sync.maxDeletions is {limit}" in str(refused.value)
    assert "dpe.dev/adopt-par" in str(refused.value)


def test_a_file_that_is_cleared_away_counts_as_a_deletion() -> None:
    rules = replace(KEEP, limit=DeletionLimit(0, percent=True))
    with pytest.raises(Refused, match="delete 1 of 1"):
        decide([subject("a", Kind.FOLDER, There.OURS), subject("a/b", Kind.COPY)], rules)


def test_edits_that_overwrite_deletes_count_as_deletions() -> None:
    rules = replace(OVERWRITE, limit=DeletionLimit(0, percent=True))
    with pytest.raises(Refused, match="delete 1 of 3"):
        decide(EDITS, rules)


def test_a_file_that_somebody_deleted_there_is_restored() -> None:
    found = decide([subject("a", Kind.COPY, known=True), subject("new", Kind.COPY)], KEEP)
    assert (found.copy, found.restored) == ((b"a", b"new"), 1)


def test_names_that_are_one_on_the_redundant_side_are_skipped() -> None:
    twins = [
        subject("News.par", Kind.COPY),
        subject("news.par", Kind.COPY),
        subject("other", Kind.COPY),
    ]
    assert decided(decide(twins, replace(KEEP, one_name=True))) == {
        "copy": ["other"],
        "skipped": ["News.par", "news.par"],
    }
    assert decided(decide(twins, KEEP)) == {"copy": ["News.par", "news.par", "other"]}


def test_a_file_renamed_to_other_case_is_not_deleted_with_its_new_name() -> None:
    renamed = [
        subject("News.par", Kind.DELETE, There.OURS),
        subject("news.par", Kind.SAME, There.OURS),
    ]
    assert decided(decide(renamed, replace(KEEP, one_name=True))) == {
        "same": ["news.par"],
        "forget": ["News.par"],
    }
    assert decide(renamed, KEEP).delete == (b"News.par",)


def test_two_forms_of_a_letter_are_one_name_only_where_the_volume_says_so() -> None:
    composed, decomposed = (unicodedata.normalize(form, "Größe.par") for form in ("NFC", "NFD"))
    assert folded(composed.encode()) == folded(decomposed.encode())
    both = [subject(composed, Kind.COPY), subject(decomposed, Kind.COPY)]
    assert len(decide(both, KEEP).copy) == 2
    assert len(decide(both, replace(KEEP, one_name=True)).skipped) == 2
    renamed = [
        subject(composed, Kind.DELETE, There.OURS),
        subject(decomposed, Kind.SAME, There.OURS),
    ]
    assert not decide(renamed, replace(KEEP, one_name=True)).delete


def test_folding_keeps_names_that_are_not_utf8_apart() -> None:
    assert folded(b"\xff") != folded(b"\xfe")
    assert folded(b"A\xff") == folded(b"a\xff")


NAMES = st.sampled_from(["a", "b", "A", "\u00e9", "e\u0301"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
_MEANINGFUL = {
    Kind.COPY: list(There),
    Kind.SAME: [There.OURS],
    Kind.RETIME: [There.OURS],
    Kind.FOLDER: list(There),
    Kind.DELETE: [There.OURS, There.FOREIGN],
    Kind.DELETE_FOLDER: [There.FOLDER],
    Kind.SKIP: list(There),
}
SUBJECTS = st.lists(
    st.sampled_from(
        [(kind, there) for kind, all_ in _MEANINGFUL.items() for there in all_]
    ).flatmap(
        lambda pair: st.builds(
            Subject,
            path=PATHS.map(str.encode),
            kind=st.just(pair[0]),
            there=st.just(pair[1]),
            changed=st.sampled_from([OLD, NOW, NOW + 5, None]),
            known=st.booleans(),
        )
    ),
    max_size=12,
    unique_by=lambda found: found.path,
)
RULES = st.builds(
    Rules,
    now=st.just(NOW),
    on_divergence=st.sampled_from(OnDivergence),
    limit=st.sampled_from([None, ANY, DeletionLimit(0), DeletionLimit(1, percent=False)]),
    quiet=st.sampled_from([0.0, 60.0]),
    complete=st.booleans(),
    one_name=st.booleans(),
)


@given(SUBJECTS, RULES)
def test_every_path_has_one_fate_and_edits_are_safe(subjects: list[Subject], rules: Rules) -> None:
    try:
        found = decide(subjects, rules)
    except Refused as refused:
        assert refused.reason in ("RedundantEdited", "TooManyDeletions")
        return
    fates = Counter[bytes]()
    for field in fields(found):
        if field.name not in ("restored", "overwritten"):
            fates.update(getattr(found, field.name))
    for path in set(found.clear) & set(found.folders):
        fates[path] -= 1  # a file in the place of a folder is in both
    assert fates == Counter(subject.path for subject in subjects)

    goes = {*found.copy, *found.clear, *found.delete}
    foreign = {
        subject.path
        for subject in subjects
        if subject.there is There.FOREIGN and subject.kind is not Kind.SKIP
    }
    if rules.on_divergence is not OnDivergence.OVERWRITE:
        assert not goes & foreign
    assert set(found.overwritten) == goes & foreign
    if rules.limit is not None:
        assert found.deletions <= rules.limit.allowed(files_on_redundant_side(subjects))
    if not rules.complete:
        assert not found.delete and not found.clear
    # nothing is put below a file that stays
    stays = {*found.divergent, *found.deferred}
    walls = {found.path for found in subjects if found.kind is Kind.FOLDER} & stays
    for path in (*found.copy, *found.folders):
        assert not walls & set(parents(path))
