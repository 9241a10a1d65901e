# SPDX-License-Identifier: Apache-2.0
"""The small parts of the elector: timings, flags, permit, messages, link, probes, log."""

import contextlib
import errno
import math
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from dpe_elector import clock, processes
from dpe_elector.api_client import WatchEvent
from dpe_elector.election import Mode, State
from dpe_elector.guard import Guard
from dpe_elector.link import Link
from dpe_elector.log import Log
from dpe_elector.messages import (
    Order,
    Phase,
    Status,
    Verb,
    decode_order,
    decode_status,
    pipes,
)
from dpe_elector.permit import Permit, why_ended
from dpe_elector.probes import Health, Probes, file_is_fresh
from dpe_elector.settings import SettingsRefused, parse
from dpe_elector.timings import PROFILES, Timings, TimingsRefused, check
from dpe_elector.watcher import Watcher

PACKAGES = Path(sys.modules["dpe_elector"].__file__ or "").parents[1]
ENVIRONMENT = {"POD_NAMESPACE": "radio", "POD_UID": "u-1", "POD_NAME": "w-0"}


def test_the_profiles_have_a_margin_and_three_calls_before_the_deadline() -> None:
    for timings in PROFILES.values():
        assert check(timings) is timings
        assert 3 * timings.call_timeout <= timings.renew_deadline + 1e-9


@pytest.mark.parametrize(
    ("timings", "message"),
    [
        (Timings(11, 10, 2), "10.20 s, and 1 s to kill the command make 11.20 s: .* 12"),
        (Timings(15, 4, 2), "two retry periods of 2 s and 0.5 s .* 4.5 s"),
        (Timings(15, 10, 0.1), "--retry-period 0.1 s is below 0.2 s"),
        (Timings(601, 10, 2), "--lease-duration 601 s is above 600 s"),
    ],
)
def test_timings_without_a_margin_are_refused_with_the_arithmetic(
    timings: Timings, message: str
) -> None:
    with pytest.raises(TimingsRefused, match=message):
        check(timings)


def test_the_least_timings_that_pass() -> None:
    assert check(Timings(12, 10, 2)).duration == 12
    assert check(Timings(3, 1.9, 0.5)).duration == 3


def test_flags_and_their_defaults() -> None:
    found = parse(["--lease", "x", "--", "run", "--fast", "--", "it"], ENVIRONMENT)
    assert found.command == ("run", "--fast", "--", "it")
    assert (found.mode, found.namespace, found.lease) == (Mode.EXCLUSIVE, "radio", "x")
    assert found.timings == PROFILES["Safe"]
    assert (found.probe_port, found.grace, found.pod) == (8081, 25.0, "w-0")
    assert found.identity.startswith("u-1_")
    again = parse(["--lease", "x", "--", "run"], ENVIRONMENT)
    assert again.identity != found.identity, "every start of the process has an identity of its own"


def test_hot_mode_has_hot_timings_and_single_values_replace_those_of_a_profile() -> None:
    hot = parse(["--lease", "x", "--mode", "hot", "--", "run"], ENVIRONMENT)
    assert hot.timings == PROFILES["Hot"]
    mixed = parse(
        ["--lease", "x", "--profile", "Fast", "--retry-period", "0.5", "--", "run"], ENVIRONMENT
    )
    assert mixed.timings == Timings(6, 4.0, 0.5)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--", "x"], "--lease"),
        (["--lease", "x"], "no command"),
        (["--lease", "x", "--"], "no command"),
        (["--lease", "x", "--mode", "cold", "--", "x"], "--mode"),
        (["--lease", "x", "--profile", "safe", "--", "x"], "--profile"),
        (["--lease", "x", "--grace", "-1", "--", "x"], "--grace -1"),
        (["--lease", "x", "--probe-port", "70000", "--", "x"], "--probe-port 70000"),
        (["--lease", "x", "--lease-duration", "5.5", "--", "x"], "--lease-duration"),
        (["--lease", "x", "--renew-deadline", "14.9", "--", "x"], "give at least"),
        (["--lease", "x", "--renew-deadline", "nan", "--", "x"], "--renew-deadline nan .* give"),
        (["--lease", "x", "--renew-deadline", "inf", "--", "x"], "--renew-deadline inf .* give"),
        (["--lease", "x", "--retry-period", "nan", "--", "x"], "--retry-period nan .* give"),
        (["--lease", "x", "--retry-period", "inf", "--", "x"], "--retry-period inf .* give"),
        (["--lease", "x", "--grace", "nan", "--", "x"], "--grace nan"),
        (["--lease", "x", "--once", "--once-deadline", "nan", "--", "x"], "--once-deadline nan"),
        (["--lease", "", "--", "x"], "--lease '' .* give"),
        (["--lease", "a/b", "--", "x"], "--lease 'a/b' .* give"),
        (["--lease", "X", "--", "x"], "--lease 'X' .* give"),
        (["--lease", "x\n", "--", "x"], r"--lease 'x\\n' .* give"),
        (["--lease", "x", "--namespace", "a/b", "--", "x"], "--namespace 'a/b' .* give"),
        (["--lease", "x", "--namespace", "a.b", "--", "x"], "--namespace 'a.b' .* give"),
        (["--lease", "x", "--leas", "y", "--", "x"], "--leas"),
        (["--lease", "x", "command", "--", "x"], "command"),
    ],
)
def test_unusable_flags_name_the_flag(flags: list[str], message: str) -> None:
    with pytest.raises(SettingsRefused, match=message):
        parse(flags, ENVIRONMENT)


def test_names_that_kubernetes_takes() -> None:
    for name in ("x", "a-1.b-2", "1"):
        assert parse(["--lease", name, "--", "run"], ENVIRONMENT).lease == name


def test_a_namespace_is_needed() -> None:
    with pytest.raises(SettingsRefused, match="set DPE_ELECTOR_POD_NAMESPACE by the downward API"):
        parse(["--lease", "x", "--", "run"], {})
    assert parse(["--lease", "x", "--namespace", "n", "--", "run"], {}).namespace == "n"


def test_the_electors_own_variables_go_before_the_plain_ones() -> None:
    own = {f"DPE_ELECTOR_{name}": f"own-{name}" for name in ENVIRONMENT}
    found = parse(["--lease", "x", "--", "run"], {**ENVIRONMENT, **own})
    assert (found.namespace, found.pod) == ("own-POD_NAMESPACE", "own-POD_NAME")
    assert found.identity.startswith("own-POD_UID_")


def test_the_environment_is_what_the_kernel_was_given() -> None:
    """Python puts LC_CTYPE into os.environ where no locale is set."""
    script = (
        "import os, sys\n"
        "from dpe_elector.environment import inherited, without_own\n"
        "os.environ['ADDED'] = '1'\n"
        "assert 'LC_CTYPE' in os.environ\n"
        "sys.stdout.buffer.write(repr(without_own(inherited())).encode(errors='surrogateescape'))\n"
    )
    given = {b"PYTHONPATH": os.fsencode(PACKAGES), b"ODD": b"a=\xe9\n", b"DPE_ELECTOR_X": b"1"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=given, capture_output=True, check=True, timeout=20
    )
    assert done.stdout == b"{'PYTHONPATH': '%b', 'ODD': 'a=\\udce9\\n'}" % os.fsencode(PACKAGES)


def test_a_permit_ends_with_its_time() -> None:
    permit = Permit(1, 100.0, 5.0)
    assert why_ended(permit, 99.99, 5.0) is None
    assert "no renewal" in (why_ended(permit, 100.0, 5.0) or "")


def test_a_permit_whose_end_is_no_number_has_ended() -> None:
    assert why_ended(Permit(1, math.nan, 0.0), 50.0, 0.0) is not None


def test_a_permit_ends_when_the_wall_clock_ran_ahead() -> None:
    permit = Permit(1, 100.0, 5.0)
    assert why_ended(permit, 50.0, 5.5) is None
    assert "paused" in (why_ended(permit, 50.0, 5.51) or "")
    assert why_ended(permit, 50.0, -10.0) is None, "set back is no sign of a pause"


def test_orders_and_statuses_survive_the_pipe() -> None:
    for order in (
        Order(1, Verb.BEAT),
        Order(2, Verb.RUN, Permit(3, 123456.789012345, 1.7e9)),
        Order(3, Verb.KILL),
    ):
        assert decode_order(order.encode().rstrip(b"\n")) == order
    status = Status(7, Phase.CLEARING, 3, 2, True)
    assert decode_status(status.encode().rstrip(b"\n")) == status
    for line in (b"", b"x", b"1 run 2", b"1 fly", b"x run 1 2 3"):
        with pytest.raises(ValueError):
            decode_order(line)


def test_a_pipe_neither_blocks_nor_breaks() -> None:
    guard, elector = pipes()
    elector.send(b"one\ntw")
    assert guard.receive() == [b"one"]
    elector.send(b"o\n")
    assert guard.receive() == [b"two"]
    assert not guard.ended
    for _ in range(3000):
        guard.send(b"x" * 100 + b"\n")
    assert 100 < len(elector.receive()) < 3000
    elector.close()
    assert guard.receive() == [] and guard.ended
    guard.send(b"nobody listens\n")
    guard.close()


class FakePipe:
    """Keeps what was sent."""

    read_from = -1
    ended = False

    def __init__(self) -> None:
        self.sent: list[Order] = []

    def send(self, line: bytes) -> None:
        self.sent.append(decode_order(line))

    def receive(self) -> list[bytes]:
        return []


def linked() -> tuple[Link, FakePipe]:
    pipe = FakePipe()
    return Link(pipe), pipe


HELD = State(epoch=5, until=1e9, running=True)
LOST = State(running=True)


def test_an_old_status_is_not_the_end_of_a_new_command() -> None:
    link, pipe = linked()
    link.run(Permit(5, 1e9, 0.0))
    assert not link.command_ended(Status(0, Phase.NONE, 4, 1, False), HELD)
    assert not link.command_ended(Status(1, Phase.RUNNING, 5, 2, False), HELD)
    assert link.running and link.starts == 2
    assert not link.command_ended(Status(1, Phase.CLEARING, 5, 2, False), HELD)
    assert link.command_ended(Status(1, Phase.NONE, 5, 2, False), HELD)
    assert pipe.sent[0].permit == Permit(5, 1e9, 0.0)


def test_a_killed_command_is_dead_only_after_the_order_was_read() -> None:
    link, pipe = linked()
    link.run(Permit(5, 1e9, 0.0))
    link.kill()
    link.kill()
    assert [order.verb for order in pipe.sent] == [Verb.RUN, Verb.KILL], "said once a second"
    assert not link.command_ended(Status(1, Phase.NONE, 4, 1, False), LOST)
    assert link.command_ended(Status(2, Phase.NONE, 5, 2, False), LOST)


def test_a_guard_that_is_stopping_starts_nothing_any_more() -> None:
    link, _ = linked()
    link.run(Permit(5, 1e9, 0.0))
    assert not link.command_ended(Status(0, Phase.NONE, 4, 1, True), HELD)
    assert link.command_ended(Status(1, Phase.NONE, 4, 1, True), HELD)


def test_in_hot_mode_the_end_is_seen_even_if_the_restart_was_quick() -> None:
    link, _ = linked()
    hot = State(epoch=5)
    assert not link.command_ended(Status(0, Phase.NONE, 0, 0, False), hot)
    assert not link.command_ended(Status(0, Phase.RUNNING, 0, 1, False), hot)
    assert not link.command_ended(Status(1, Phase.RUNNING, 0, 1, False), hot)
    assert link.command_ended(Status(1, Phase.RUNNING, 0, 2, False), hot)
    assert link.command_ended(Status(1, Phase.CLEARING, 0, 2, False), hot)
    assert not link.command_ended(Status(1, Phase.NONE, 0, 2, False), hot)


def test_probes_say_why_not() -> None:
    now = clock.boot()
    health = Health("x", 15.0)
    assert health.not_live(now) == ""
    assert health.not_live(now + 21) == "the election loop hangs for 21 s"
    health.contact = now
    assert health.not_ready(now + 15) == ""
    assert health.not_ready(now + 16) == "no contact to the API server for 16 s"
    hot = Health("x", 6.0, hot=True)
    assert hot.not_ready(now) == "the command is not ready"
    hot.able = True
    assert hot.not_ready(now + 1000) == "", "the API server is not needed to serve"


def test_metrics_have_help_type_and_a_label() -> None:
    health = Health("x", 15.0)
    assert 'contact_age_seconds{lease="x"} +Inf' in health.metrics(clock.boot())
    health.contact, health.holder, health.epoch = clock.boot(), True, 7
    lines = health.metrics(clock.boot()).splitlines()
    assert 'dpe_elector_holder{lease="x"} 1' in lines
    assert 'dpe_elector_epoch{lease="x"} 7' in lines
    names = {line.split("{")[0] for line in lines if not line.startswith("#")}
    typed = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert {name.removesuffix("_sum").removesuffix("_count") for name in names} == typed


def test_a_probe_server_is_not_held_up_by_a_silent_client() -> None:
    probes = Probes(0, Health("x", 15.0, hot=True, able=True))
    probes.start()
    with socket.create_connection(("127.0.0.1", probes.port)):
        started = time.monotonic()
        with urllib.request.urlopen(f"http://127.0.0.1:{probes.port}/readyz?x=1") as answer:
            assert answer.read() == b"ok\n"
        assert time.monotonic() - started < 2
    probes.close()


def test_a_probe_server_is_not_held_up_by_a_client_that_drips() -> None:
    probes = Probes(0, Health("x", 15.0))
    probes.start()
    done = threading.Event()
    with socket.create_connection(("127.0.0.1", probes.port)) as slow:

        def drip() -> None:
            with contextlib.suppress(OSError):  # sooner or later it is cut off
                while not done.wait(0.3):
                    slow.send(b"G")

        thread = threading.Thread(target=drip)
        thread.start()
        time.sleep(0.1)
        try:
            url = f"http://127.0.0.1:{probes.port}/livez"
            with urllib.request.urlopen(url, timeout=2) as answer:
                assert answer.read() == b"ok\n"
        finally:
            done.set()
            thread.join()
            probes.close()


def test_probes_are_answered_again_after_the_machine_had_no_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probes = Probes(0, Health("x", 15.0, hot=True, able=True))
    listening = probes._socket
    failures = iter([errno.ENFILE, errno.ENOMEM, errno.ECONNABORTED])

    class Full:
        def accept(self) -> Any:
            if number := next(failures, 0):
                raise OSError(number, os.strerror(number))
            return listening.accept()

        def __getattr__(self, name: str) -> Any:
            return getattr(listening, name)

    monkeypatch.setattr(probes, "_socket", Full())
    probes.start()
    with urllib.request.urlopen(f"http://127.0.0.1:{probes.port}/livez", timeout=5) as answer:
        assert answer.read() == b"ok\n"


def test_a_closed_probe_server_ends_its_thread() -> None:
    probes = Probes(0, Health("x", 15.0))
    probes.close()
    thread = threading.Thread(target=probes._run, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()


def test_the_watch_goes_on_whatever_happens_to_it() -> None:
    event = WatchEvent("MODIFIED", {"spec": {"holderIdentity": "other"}})
    rounds: Any = iter([RuntimeError("by a bug"), [event]])

    class Client:
        def watch(self, *_words: Any, **_more: Any) -> Any:
            this = next(rounds, None)
            if this is None:
                threading.Event().wait()  # the thread ends with the process
            if isinstance(this, Exception):
                raise this
            return contextlib.nullcontext(this)

    client: Any = Client()
    watcher = Watcher(client, namespace="ns", name="x", pause=0.01)
    watcher.start()
    assert select.select([watcher.descriptor], [], [], 5)[0]
    assert watcher.rang()


def test_a_ready_file_grows_stale(tmp_path: Path) -> None:
    path = tmp_path / "ready"
    assert not file_is_fresh(str(path))
    path.touch()
    assert file_is_fresh(str(path))
    os.utime(path, (time.time() - 6, time.time() - 6))
    assert not file_is_fresh(str(path))


def test_log_lines_go_to_standard_error_and_never_block() -> None:
    script = "from dpe_elector.log import Log\nfor n in range(20000): Log('guard')(f'line {n}')\n"
    script = script.replace("Log('guard')(", "log(").replace("for n", "log = Log('guard')\nfor n")
    reader, writer = os.pipe()
    done = subprocess.run(
        [sys.executable, "-c", script],
        stderr=writer,
        timeout=20,
        check=False,
        env={"PYTHONPATH": str(PACKAGES)},
    )
    os.close(writer)
    with open(reader, "rb") as file:
        lines = file.read().splitlines()
    assert done.returncode == 0
    assert 100 < len(lines) < 20000, "what found no room is lost"
    assert lines[0].endswith(b" dpe-elector guard: line 0")


def test_without_standard_error_nothing_is_logged() -> None:
    log = Log("guard")
    log._descriptor = -1
    log("lost")


def test_clocks() -> None:
    assert clock.boot() > 0
    assert abs(clock.wall_offset() - clock.wall_offset()) < 0.1
    assert clock.micro_time(1.000002) == "1970-01-01T00:00:01.000002Z"


def test_without_a_free_file_the_guard_starts_the_elector_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It must not end over it: what it guards would be killed."""
    settings = parse(["--lease", "x", "--", "/bin/true"], ENVIRONMENT)
    made = Guard(settings, lambda *_: 0, Log("guard"))
    free = iter([os.pipe()])

    def pipe() -> tuple[int, int]:
        for both in free:
            return both
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as nothing_free:
        nothing_free.setattr(os, "pipe", pipe)
        made._start_elector()
    assert (made._elector, made._pipe) == (0, None)
    assert made._elector_backoff.next_start > clock.boot()


def test_a_signal_reaches_a_command_that_was_just_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child has the guard's handlers for a moment: one of them took the SIGTERM, and the
    command was killed only when the grace was over."""
    forget = processes.forget_signals

    def slowly() -> None:
        time.sleep(0.3)
        forget()

    monkeypatch.setattr(processes, "forget_signals", slowly)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        pid = processes.Processes().start(["/bin/sleep", "20"], {})
        time.sleep(0.1)
        os.kill(pid, signal.SIGTERM)
        begin = time.monotonic()
        _, status = os.waitpid(pid, 0)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert time.monotonic() - begin < 10
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])
