# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Wait until a service is healthy and watch it: its state, its journal, its answers at all its addresses."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from typing import TYPE_CHECKING, Any

from ansible_collections.pyweb.deploy.plugins.module_utils.probe import ask
from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Systemd

if TYPE_CHECKING:
    from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Command

PAUSE = 0.1
WATCH_PAUSE = 0.5
PUBLIC_PATIENCE = 2.0
REFUSAL_PATIENCE = 5.0
"""Seconds after which the same 3xx or 4xx is the answer: a wrong path or host, which waiting doesn't change."""

TRACEBACK_LINES = 12
MESSAGE_LINES = 8
JOURNAL_LINES = 15
JOURNAL_LIMIT = 10000
COMMAND_MARK = "gunicorn_before_activate: "
# As Gunicorn's own log begins; the access log holds what visitors send.
WORKER_DIED = re.compile(r"\[[^]]+\] \[\d+\] \[(?:ERROR|WARNING)\] (Worker \(pid:\d+\) (?:exited with|was sent) .*)")

ROUTINE = re.compile(
    r"\[[^]]+\] \[\d+\] \[(INFO|ERROR)\] (Starting gunicorn|Listening at|Using worker|Booting worker|Control socket"
    r"|Worker exiting|Shutting down)"
)
"""What Gunicorn says of each start and of each end."""

MACHINERY = re.compile(r'  File "(<frozen importlib\.|.*/importlib/__init__\.py"|.*/site-packages/gunicorn/)')
"""A line of a traceback that is in each: how Gunicorn gets to the application."""

LOGGED = re.compile(r'\[[^]]+\] \[\d+\] \[|(\S+ | ?)- (- )?(\[[^]]+\] )?"[A-Z]+ |{"time": ')
"""Beginning of a line that Gunicorn writes to its log or to its access log."""


def shown(address: dict[str, Any]) -> str:
    """Address for people."""
    return address["path"] or f"port {address['port']} of {address['host']}"


def last_traceback(lines: list[str]) -> list[str]:
    """Give the end of the application's last traceback, at most `TRACEBACK_LINES`; empty where there is none.

    Where several workers fail at once, Gunicorn's master ends with a HaltServer of its own, which explains nothing.
    """
    starts = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    tracebacks = [_traceback_at(lines, start) for start in starts]
    telling = [each for each in tracebacks if not each[-1].startswith("gunicorn.errors.HaltServer")]
    if not telling:
        return []
    found = telling[-1]
    frames = _without_machinery(found[1:-1])
    return found[:1] + [*frames, *found[1:][-1:]][-TRACEBACK_LINES:]


def rest_of_message(exception: str, lines: list[str]) -> list[str]:
    """Give what follows the first line of an exception's message, where it plainly ends.

    After it Gunicorn logs something, or says the whole message again.
    """
    after = lines[len(lines) - lines[::-1].index(exception) :]
    for number, line in enumerate(after[: MESSAGE_LINES + 1]):
        if LOGGED.match(line) or exception.endswith(": " + line):
            return after[:number]
    return []


def _without_machinery(frames: list[str]) -> list[str]:
    """Leave out what isn't the application's, unless there is nothing else."""
    kept, machinery = [], False
    for line in frames:
        if line.startswith("  File "):
            machinery = bool(MACHINERY.match(line))
        kept += [] if machinery else [line]
    return kept or frames


def _traceback_at(lines: list[str], start: int) -> list[str]:
    """Lines of one traceback: all that are indented, and the exception below them."""
    found = [lines[start]]
    for line in lines[start + 1 :]:
        found.append(line)
        if line and not line[0].isspace():
            break
    return found


def last_lines(lines: list[str], path: str) -> list[str]:
    """Give the last lines of a log that tell something: nothing of the routine, nor of the health check's own requests.

    Those have no address, since they come by a Unix socket.
    """
    text = rf'(- | )?- - (\[[^]]+\] )?"GET {re.escape(path)} HTTP/'
    as_json = rf'{{"time": "[^"]+", "client": null, .*"url": "{re.escape(path)}", '
    own = re.compile(f"{text}|{as_json}")
    return [line for line in lines if not own.match(line) and not ROUTINE.match(line)][-JOURNAL_LINES:]


def diagnose(lines: list[str], state: dict[str, str]) -> str:
    """Say in one line why the service stopped: its exception or last error, else what systemd knows."""
    ended = f"the service ended (result {state.get('Result')}, status {state.get('ExecMainStatus')})"
    if state.get("Result") == "oom-kill":
        return ended
    traceback = last_traceback(lines)
    commands = [line[len(COMMAND_MARK) :] for line in lines if line.startswith(COMMAND_MARK)]
    if commands and commands[-1] != "done":
        how = "took too long" if state.get("Result") == "timeout" else "failed"
        return f"gunicorn_before_activate: a command {how}: {commands[-1]}"
    if traceback:
        return "the application failed to start: " + traceback[-1]
    plain = [line for line in lines if line.startswith(("gunicorn.conf.py:", "Failed to "))]
    logged = [line.split("[ERROR] ", 1)[1] for line in lines if "[ERROR] " in line]
    if plain or logged:
        return (plain or logged)[-1]
    return ended


def last_death(lines: list[str]) -> str:
    """What Gunicorn's master said of the last worker that died; empty for none."""
    return next((match[1] for match in map(WORKER_DIED.match, reversed(lines)) if match), "")


class UnhealthyError(Exception):
    """A service failed its check. The text says why, with the traceback or the last lines of the journal."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        """What is wrong, in one line."""


class Question(threading.Thread):
    """One request in the background: the service is watched meanwhile, and an answer that drips holds up nobody."""

    def __init__(self, address: dict[str, Any], health: dict[str, Any], timeout: float) -> None:
        super().__init__(daemon=True)
        self.arguments = (address, health, timeout)
        self.until = time.monotonic() + timeout
        self.answer = (0, "no answer yet")

    def run(self) -> None:
        """Ask."""
        self.answer = ask(*self.arguments)

    def result(self) -> tuple[int, str] | None:
        """Status and problem; ``None`` while there is time left for an answer.

        The time limit of a socket is one for each read: a server that sends a byte now and then would never reach it.
        """
        if not self.is_alive():
            return self.answer
        if time.monotonic() < self.until:
            return None
        return 0, f"no complete answer to GET {self.arguments[1]['path']} within {self.arguments[2]:.0f} s"


class Service:
    """A slot's service, or the check's, that has to become healthy and stay so."""

    def __init__(self, run: Command, name: str, health: dict[str, Any]) -> None:
        self.unit = name + ".service"
        self.health = health
        self._private = {"host": "", "port": 0, "path": f"/run/gunicorn/{name}.sock"}
        self._run = run
        self._systemd = Systemd(run)
        self._invocation = ""

    def state(self) -> dict[str, str]:
        """What systemd says about the service."""
        names = ("ActiveState", "SubState", "Result", "ExecMainStatus", "InvocationID", "Job")
        return self._systemd.show(self.unit, *names)

    def journal(self) -> list[str]:
        """Lines that this run of the service wrote."""
        if not self._invocation:
            return []
        command = ["journalctl", "--no-pager", "--output", "cat", "--lines", str(JOURNAL_LIMIT)]
        _rc, out, _err = self._run([*command, "_SYSTEMD_INVOCATION_ID=" + self._invocation])
        return out.splitlines()

    def running(self) -> dict[str, str]:
        """State of the service. Raises `UnhealthyError` where it has ended."""
        state = self.state()
        active = state.get("ActiveState")
        # While a job waits in the queue, the state is still that from before the start that this is about.
        if not state.get("Job") or active == "activating":
            current = state.get("InvocationID", "")
            self._invocation = self._invocation or current
            # A service that ends is started again, by systemd or by the request that waits at its socket.
            if active in ("failed", "inactive") or current != self._invocation:
                lines = self.journal()
                raise self._unhealthy(diagnose(lines, state), lines)
        return state

    def wait(self, passed_before: dict[str, Any] | None = None) -> tuple[int, float]:
        """Ask until the answer is healthy: its status, and the seconds that it took.

        Where the service fails the check, but passes one that it has passed before, it is held to that from then on.
        """
        try:
            return self._wait()
        except UnhealthyError:
            if not passed_before:
                raise
            current, self.health = self.health, passed_before
            with contextlib.suppress(UnhealthyError):
                return self._wait()
            self.health = current
            raise

    def _wait(self) -> tuple[int, float]:
        started = time.monotonic()
        refused_at: tuple[float, str] = (started, "")
        question: Question | None = None
        status, problem = 0, "no answer yet"
        while True:
            state = self.running()
            if state.get("SubState") == "start-pre":
                started = time.monotonic()  # what the commands take doesn't count
            if question and (answer := question.result()):
                question = None
                status, problem = answer
                if not problem:
                    return status, time.monotonic() - started
                if problem != refused_at[1]:
                    refused_at = (time.monotonic(), problem)
                elif 300 <= status < 500 and time.monotonic() - refused_at[0] >= REFUSAL_PATIENCE:
                    raise self._unhealthy(problem, self.journal())
            left = self.health["timeout"] - (time.monotonic() - started)
            if left <= 0:
                reason = f"it wasn't healthy within {self.health['timeout']} s: {problem}"
                raise self._unhealthy(reason, self.journal())
            if not question and state.get("ActiveState") == "active":
                question = Question(self._private, self.health, left)
                question.start()
            if question:
                question.join(PAUSE)
            else:
                time.sleep(PAUSE)

    def wait_for_commands(self) -> None:
        """Wait until the service runs none of its ExecStartPre= commands."""
        while self.state().get("SubState") == "start-pre":
            time.sleep(WATCH_PAUSE)

    def watch(self, seconds: float, public: list[dict[str, Any]], took: float) -> None:
        """Go on asking, at the private socket and the public addresses; raise `UnhealthyError` at the first bad sign.

        Each public address must answer once within the time limit of the check, whatever the status: the old service,
        which shares it, may be the one that answers.
        """
        started = time.monotonic()
        limit = self.health["timeout"]
        question: Question | None = None
        # Not the whole limit: an older service that hangs may have got the request.
        patience = max(PUBLIC_PATIENCE, 2 * took)
        silent = [Question(address, self.health, patience) for address in public]
        for each in silent:
            each.start()
        while time.monotonic() - started < seconds or question or silent:
            self.running()
            if question and (answer := question.result()):
                if answer[1]:
                    raise self._after(started, answer[1])
                question = None
            if not question and time.monotonic() - started < seconds:
                question = Question(self._private, self.health, limit)
                question.start()
            answers = [(each, each.result()) for each in silent]
            silent = [each for each, public_answer in answers if public_answer is None]
            for each, public_answer in answers:
                if public_answer is None or public_answer[0]:
                    continue
                if time.monotonic() - started > limit:
                    raise self._after(started, f"{public_answer[1]} ({shown(each.arguments[0])})")
                silent.append(Question(*each.arguments))
                silent[-1].start()
            left = seconds - (time.monotonic() - started)
            time.sleep(min(WATCH_PAUSE, left) if left > 0 else PAUSE)  # the deploy goes on as soon as it may
        died = last_death(self.journal())
        if died:
            raise self._after(started, died)

    def _after(self, started: float, problem: str) -> UnhealthyError:
        """Say what went wrong under traffic, and which worker's end may be why."""
        reason = f"unhealthy after {time.monotonic() - started:.1f} s of traffic: {problem}"
        time.sleep(PAUSE)  # the master writes of a worker's end a moment after its connections have broken
        lines = self.journal()
        died = last_death(lines)
        return self._unhealthy(reason if died in ("", problem) else f"{reason}; {died}", lines)

    def _unhealthy(self, reason: str, lines: list[str]) -> UnhealthyError:
        """Say what is wrong, then the traceback or else the end of the journal; what these say, isn't said before."""
        traceback = last_traceback(lines)
        before = reason
        if traceback and reason.endswith(": " + traceback[-1]):
            before = reason[: -len(traceback[-1]) - 1]
        text = [f"{self.unit}: {before}"]
        ends = [line for line in last_lines(lines, self.health["path"]) if line != reason]
        if traceback:
            text += ["", *traceback, *rest_of_message(traceback[-1], lines)]
        elif ends:
            text += ["", f"Its last lines (journalctl -u {self.unit}):", *("  " + line for line in ends)]
        return UnhealthyError(reason, "\n".join(text))
