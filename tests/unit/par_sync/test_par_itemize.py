# SPDX-License-Identifier: Apache-2.0
"""Reading rsync's plan: every line is understood exactly, or nothing is decided on it."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpe_par_sync.itemize import Item, Kind, PlanUnreadable, parents, parse, unescape

# what one component of a path may be on Linux
NAMES = st.binary(min_size=1, max_size=40).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(b"/".join)


def as_rsync_prints(name: bytes) -> bytes:
    """`filtered_fwrite` of rsync's log.c with -8: control characters but the tab, and a backslash
    that looks like the beginning of an escape."""
    marked = re.sub(rb"\\(?=#[0-9]{3})", rb"\\#134", name)
    return re.sub(rb"[\x00-\x08\x0a-\x1f]", lambda found: b"\\#%03o" % found[0][0], marked)


def items(*lines: bytes) -> list[tuple[bytes, Kind]]:
    return [
        (item.path, item.kind) for item in parse(b"".join(line + b"\n" for line in lines)).items
    ]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b">f+++++++++ a/b", Kind.COPY),
        (b">f..t...... a/b", Kind.COPY),
        (b">fcst...... a/b", Kind.COPY),
        (b"<f+++++++++ a/b", Kind.COPY),
        (b".f          a/b", Kind.SAME),
        (b".f..t...... a/b", Kind.RETIME),
        (b".f..T...... a/b", Kind.RETIME),
        (b".f...p..... a/b", Kind.SAME),
        (b"cd+++++++++ a/b/", Kind.FOLDER),
        (b".d..t...... a/b/", Kind.FOLDER),
        (b".d          a/b/", Kind.FOLDER),
        (b"*deleting   a/b", Kind.DELETE),
        (b"*deleting   a/b/", Kind.DELETE_FOLDER),
        (b"cL+++++++++ a/b", Kind.SKIP),
        (b"cD+++++++++ a/b", Kind.SKIP),
        (b"cS+++++++++ a/b", Kind.SKIP),
        (b'skipping non-regular file "a/b"', Kind.SKIP),
    ],
)
def test_each_line_of_rsync_has_one_meaning(line: bytes, kind: Kind) -> None:
    assert items(line) == [(b"a/b", kind)]


@pytest.mark.parametrize(
    "name",
    [
        b"new\nline",
        b"\nfirst",
        b"last\n",
        b"carriage\rreturn",
        b"tab\there",
        b" space before",
        b"space behind ",
        b"  ",
        b"quote\"s'",
        b"back\\slash",
        b"back\\#012slash",
        b"\\#999",
        b"\\\\#134",
        b"bell\x07 escape\x1b delete\x7f",
        b"\xff\xfe is not UTF-8",
        b"half a letter \xc3",
        "Übergabe – Nachrichten.par".encode(),
        b'skipping non-regular file "x"',
        b"*deleting   x",
        b">f+++++++++ x",
        b"-rf",
        b"#comment",
        b"*?[a-z]",
        b"...",
        b"x" * 255,
    ],
)
def test_odd_names_are_read_as_they_are(name: bytes) -> None:
    printed = as_rsync_prints(name)
    assert items(
        b">f+++++++++ " + printed,
        b"*deleting   folder/" + printed,
        b'skipping non-regular file "' + printed + b'"',
    ) == [(name, Kind.COPY), (b"folder/" + name, Kind.DELETE), (name, Kind.SKIP)]


def test_a_name_with_a_newline_does_not_become_a_second_item() -> None:
    plan = parse(b">f+++++++++ harmless" + as_rsync_prints(b"\n*deleting   victim") + b"\n")
    assert plan.items == (Item(b"harmless\n*deleting   victim", Kind.COPY),)


def test_two_forms_of_one_letter_stay_two_names() -> None:
    composed = unicodedata.normalize("NFC", "Größe.par").encode()
    decomposed = unicodedata.normalize("NFD", "Größe.par").encode()
    assert composed != decomposed
    assert items(b">f+++++++++ " + composed, b"*deleting   " + decomposed) == [
        (composed, Kind.COPY),
        (decomposed, Kind.DELETE),
    ]


@given(PATHS, st.sampled_from([b">f+++++++++ ", b".f          ", b"*deleting   "]))
def test_any_path_survives_being_printed_and_read(path: bytes, flags: bytes) -> None:
    assert unescape(as_rsync_prints(path)) == path
    assert [found for found, _ in items(flags + as_rsync_prints(path))] == [path]


@given(st.binary(max_size=200))
def test_any_output_is_read_or_refused_and_never_leads_out_of_the_folder(output: bytes) -> None:
    try:
        plan = parse(output)
    except PlanUnreadable:
        return
    for item in plan.items:
        assert item.path and not item.path.startswith(b"/") and b"\0" not in item.path
        assert not {b"", b".", b".."} & set(item.path.split(b"/"))


@pytest.mark.parametrize(
    "line",
    [
        b">f+++++++++ ../outside",
        b">f+++++++++ /absolute",
        b"*deleting   a/../../outside",
        b"*deleting   a//b",
        b"*deleting   ",
        b">f+++++++++ nul\\#000l",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(line: bytes) -> None:
    with pytest.raises(PlanUnreadable, match="no path inside a folder"):
        parse(line + b"\n")


def test_the_root_is_no_item_and_other_lines_are_notes() -> None:
    plan = parse(b".d..t...... ./\ncannot delete non-empty directory: x\n\n>f+++++++++ a\n")
    assert plan.items == (Item(b"a", Kind.COPY),)
    assert plan.notes == ("cannot delete non-empty directory: x",)
    assert parse(b"").items == ()


def test_the_folders_above_a_path_come_nearest_first() -> None:
    assert list(parents(b"a/b/c")) == [b"a/b", b"a"]
    assert list(parents(b"a")) == []
