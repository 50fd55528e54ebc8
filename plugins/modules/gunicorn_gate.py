#!/usr/bin/python
# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Wait until a generation proves that it can serve, or tell why it can't."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gunicorn_gate
short_description: Wait until a service answers its health check, or tell why it doesn't
version_added: "0.1.0"
description:
  - Asks a systemd service over its private Unix socket until the answer is the one expected.
  - Commands that the service runs before it starts (C(ExecStartPre=)) may take as long as systemd lets them.
  - Then, if wanted, goes on watching for some seconds, at the public addresses too.
  - Fails as soon as the service has failed, when the time is up, or at the first answer in the watch that isn't the one
    expected. The message then carries the end of the application's traceback and of the service's journal.
  - Changes nothing.
author:
  - The pyweb.deploy authors (@pyweb)
options:
  name:
    description:
      - Name of the service without its suffix. It answers on the private socket C(/run/gunicorn/NAME.sock).
    type: str
    required: true
  health:
    description: What a healthy answer is.
    type: dict
    default: {}
    suboptions:
      path:
        description: Path and query of the request.
        type: str
        default: /
      host:
        description: C(Host) header of the request.
        type: str
        default: localhost
      status:
        description: HTTP status codes that count as healthy.
        type: list
        elements: int
        default: [200]
      expect:
        description: Text that the first 64 KiB of the body must hold; empty to accept any body.
        type: str
        default: ''
      timeout:
        description: Seconds to wait for the first healthy answer.
        type: int
        default: 30
      tls:
        description:
          - Whether the service speaks TLS. Its certificate isn't verified, since the socket is the service's own.
          - The name that the client asks for (SNI) is that of O(health.host), the protocol (ALPN) is HTTP/1.1.
        type: bool
        default: false
  watch:
    description: Seconds to go on watching after the first healthy answer.
    type: int
    default: 0
  public:
    description:
      - Public addresses to ask too while watching. Each must answer once within C(health.timeout), with whatever
        status, since an older service that shares them may be the one that answers.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: IP address; empty for a Unix socket. A wildcard address is asked over the loopback interface.
        type: str
        default: ''
      port:
        description: TCP port; 0 for a Unix socket.
        type: int
        default: 0
      path:
        description: Path of a Unix socket; empty for TCP.
        type: str
        default: ''
  only_commands:
    description: Only wait until the service runs no command of C(ExecStartPre=) any more, whatever comes of it.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: In check mode nothing was started, so nothing is asked.
  diff_mode:
    support: none
    description: The module changes nothing.
"""

EXAMPLES = r"""
- name: Wait until the new generation answers
  pyweb.deploy.gunicorn_gate:
    name: shop-check
    health: {path: /healthz, timeout: 60}
  become: true

- name: Wait until it answers in its slot, and watch it for five seconds
  pyweb.deploy.gunicorn_gate:
    name: shop-green
    health: {path: /healthz}
    watch: 5
    public: [{host: 0.0.0.0, port: 8000}]
  become: true
"""

RETURN = r"""
seconds:
  description: Time until the healthy answer.
  returned: success
  type: float
  sample: 0.84
status:
  description: HTTP status of the healthy answer.
  returned: success
  type: int
  sample: 200
reason:
  description: What is wrong, in one line. C(msg) says it too, with the traceback or the last lines of the journal.
  returned: failure
  type: str
  sample: "the application failed to start: ModuleNotFoundError: No module named 'flask'"
"""

import re
import threading
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyweb.deploy.plugins.module_utils.probe import ask

PAUSE = 0.1
WATCH_PAUSE = 0.5
PUBLIC_PATIENCE = 2.0
TRACEBACK_LINES = 12
JOURNAL_LINES = 15
JOURNAL_LIMIT = 10000
COMMAND_MARK = "gunicorn_before_activate: "
# As Gunicorn's own log begins; the access log holds what visitors send.
WORKER_DIED = re.compile(r"\[[^]]+\] \[\d+\] \[(?:ERROR|WARNING)\] (Worker \(pid:\d+\) (?:exited with|was sent) .*)")


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
    return found[:1] + found[1:][-TRACEBACK_LINES:]


def _traceback_at(lines: list[str], start: int) -> list[str]:
    """Lines of one traceback: all that are indented, and the exception below them."""
    found = [lines[start]]
    for line in lines[start + 1 :]:
        found.append(line)
        if line and not line[0].isspace():
            break
    return found


def diagnose(lines: list[str], state: dict[str, str]) -> str:
    """Say in one line why the service stopped: its exception or last error, else what systemd knows."""
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
    return f"the service ended (result {state.get('Result')}, status {state.get('ExecMainStatus')})"


def last_death(lines: list[str]) -> str:
    """What Gunicorn's master said of the last worker that died; empty for none."""
    return next((match[1] for match in map(WORKER_DIED.match, reversed(lines)) if match), "")


class Question(threading.Thread):
    """One request in the background, so that the service is watched while it takes its time."""

    def __init__(self, address: dict[str, Any], health: dict[str, Any], timeout: float) -> None:
        super().__init__(daemon=True)
        self.arguments = (address, health, timeout)
        self.answer = (0, "no answer yet")

    def run(self) -> None:
        """Ask."""
        self.answer = ask(*self.arguments)


class Gate:
    """The service that has to prove itself."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.unit = module.params["name"] + ".service"
        self.private = {"host": "", "port": 0, "path": f"/run/gunicorn/{module.params['name']}.sock"}
        self.health = module.params["health"]
        self.systemctl = module.get_bin_path("systemctl", required=True)
        self.invocation = ""

    def state(self) -> dict[str, str]:
        """What systemd says about the service."""
        names = "ActiveState,SubState,Result,ExecMainStatus,InvocationID,Job"
        _rc, out, _err = self.module.run_command([self.systemctl, "show", "--property", names, self.unit])
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def journal(self) -> list[str]:
        """Lines that this run of the service wrote."""
        journalctl = self.module.get_bin_path("journalctl")
        if not journalctl or not self.invocation:
            return []
        command = [journalctl, "--no-pager", "--output", "cat", "--lines", str(JOURNAL_LIMIT)]
        _rc, out, _err = self.module.run_command([*command, "_SYSTEMD_INVOCATION_ID=" + self.invocation])
        lines: list[str] = out.splitlines()
        return lines

    def running(self) -> dict[str, str]:
        """State of the service; leaves the module where it has ended."""
        state = self.state()
        active = state.get("ActiveState")
        # While a job waits in the queue, the state is still that from before the start that this is about.
        if not state.get("Job") or active == "activating":
            current = state.get("InvocationID", "")
            self.invocation = self.invocation or current
            # A service that ends is started again, by systemd or by the request that waits at its socket.
            if active in ("failed", "inactive") or current != self.invocation:
                lines = self.journal()
                self.fail(diagnose(lines, state), lines)
        return state

    def wait(self) -> tuple[int, float]:
        """Ask until the answer is healthy: its status and the seconds that it took."""
        started = time.monotonic()
        question: Question | None = None
        status, problem = 0, "no answer yet"
        while True:
            state = self.running()
            if state.get("SubState") == "start-pre":
                started = time.monotonic()  # what the commands take doesn't count
            if question and not question.is_alive():
                status, problem = question.answer
                question = None
                if not problem:
                    return status, time.monotonic() - started
            left = self.health["timeout"] - (time.monotonic() - started)
            if left <= 0:
                self.fail(f"it wasn't healthy within {self.health['timeout']} s: {problem}", self.journal())
            if not question and state.get("ActiveState") == "active":
                question = Question(self.private, self.health, left)
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
        """Go on asking, at the private socket and the public addresses; leave the module at the first bad sign."""
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
            if question and not question.is_alive():
                if question.answer[1]:
                    self.unhealthy(started, question.answer[1])
                question = None
            if not question and time.monotonic() - started < seconds:
                question = Question(self.private, self.health, limit)
                question.start()
            ended = [each for each in silent if not each.is_alive()]
            silent = [each for each in silent if each not in ended]
            for each in ended:
                if each.answer[0]:
                    continue
                if time.monotonic() - started > limit:
                    self.unhealthy(started, f"{each.answer[1]} ({shown(each.arguments[0])})")
                silent.append(Question(*each.arguments))
                silent[-1].start()
            time.sleep(WATCH_PAUSE)
        died = last_death(self.journal())
        if died:
            self.unhealthy(started, died)

    def unhealthy(self, started: float, problem: str) -> None:
        """Leave the module, out of the watch: what is wrong, and which worker's end may be why."""
        reason = f"unhealthy after {time.monotonic() - started:.1f} s of traffic: {problem}"
        time.sleep(PAUSE)  # the master writes of a worker's end a moment after its connections have broken
        lines = self.journal()
        died = last_death(lines)
        self.fail(reason if died in ("", problem) else f"{reason}; {died}", lines)

    def fail(self, reason: str, lines: list[str]) -> None:
        """Leave the module: what is wrong, then the traceback or else the end of the journal."""
        traceback = last_traceback(lines)
        text = [f"{self.unit}: {reason}"]
        if traceback:
            text += ["", *traceback]
        elif lines:
            text += ["", f"Its last lines (journalctl -u {self.unit}):"]
            text += ["  " + line for line in lines[-JOURNAL_LINES:]]
        self.module.fail_json(msg="\n".join(text), reason=reason)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "health": {
                "type": "dict",
                "default": {},
                "apply_defaults": True,
                "options": {
                    "path": {"type": "str", "default": "/"},
                    "host": {"type": "str", "default": "localhost"},
                    "status": {"type": "list", "elements": "int", "default": [200]},
                    "expect": {"type": "str", "default": ""},
                    "timeout": {"type": "int", "default": 30},
                    "tls": {"type": "bool", "default": False},
                },
            },
            "watch": {"type": "int", "default": 0},
            "public": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "host": {"type": "str", "default": ""},
                    "port": {"type": "int", "default": 0},
                    "path": {"type": "str", "default": ""},
                },
            },
            "only_commands": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False, seconds=0.0, status=0)
    gate = Gate(module)
    if module.params["only_commands"]:
        gate.wait_for_commands()
        module.exit_json(changed=False, seconds=0.0, status=0)
    status, seconds = gate.wait()
    if module.params["watch"]:
        gate.watch(module.params["watch"], module.params["public"], seconds)
    module.exit_json(changed=False, seconds=round(seconds, 2), status=status)


if __name__ == "__main__":
    main()
