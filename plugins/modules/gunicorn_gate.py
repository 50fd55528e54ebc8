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
  - Fails as soon as the service has failed, or when the time is up. The message then carries the end of the
    application's traceback and of the service's journal.
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

import http.client
import socket
import threading
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

PAUSE = 0.1
BODY_LIMIT = 64 * 1024
TRACEBACK_LINES = 12
JOURNAL_LINES = 15


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def read_body(answer: http.client.HTTPResponse, seconds: float) -> str:
    """Beginning of the body: at most `BODY_LIMIT` bytes and, of an endless one, what arrives in that time."""
    until = time.monotonic() + seconds
    body = b""
    while len(body) < BODY_LIMIT and time.monotonic() < until:
        part = answer.read1(BODY_LIMIT - len(body))
        if not part:
            break
        body += part
    return body.decode("utf-8", "replace")


def ask(path: str, health: dict[str, Any], timeout: float) -> tuple[int, str]:
    """Send one request: its HTTP status (0 where no answer came) and what is wrong with the answer, if anything."""
    connection = UnixConnection(path, timeout)
    try:
        connection.request("GET", health["path"], headers={"Host": health["host"], "Connection": "close"})
        answer = connection.getresponse()
        body = read_body(answer, timeout)
    except (OSError, http.client.HTTPException) as problem:
        return 0, f"no answer to GET {health['path']}: {str(problem) or type(problem).__name__}"
    finally:
        connection.close()
    if answer.status not in health["status"]:
        wanted = ", ".join(str(code) for code in health["status"])
        return answer.status, f"GET {health['path']} answered {answer.status}, not {wanted}"
    if health["expect"] not in body:
        return answer.status, f"the answer to GET {health['path']} doesn't hold {health['expect']!r}"
    return answer.status, ""


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
    if traceback:
        return "the application failed to start: " + traceback[-1]
    plain = [line for line in lines if line.startswith(("gunicorn.conf.py:", "Failed to "))]
    logged = [line.split("[ERROR] ", 1)[1] for line in lines if "[ERROR] " in line]
    if plain or logged:
        return (plain or logged)[-1]
    return f"the service ended (result {state.get('Result')}, status {state.get('ExecMainStatus')})"


class Question(threading.Thread):
    """One request in the background, so that the service is watched while it takes its time."""

    def __init__(self, path: str, health: dict[str, Any], timeout: float) -> None:
        super().__init__(daemon=True)
        self.arguments = (path, health, timeout)
        self.answer = (0, "no answer yet")

    def run(self) -> None:
        """Ask."""
        self.answer = ask(*self.arguments)


class Gate:
    """The service that has to prove itself."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.unit = module.params["name"] + ".service"
        self.socket = f"/run/gunicorn/{module.params['name']}.sock"
        self.health = module.params["health"]
        self.systemctl = module.get_bin_path("systemctl", required=True)

    def state(self) -> dict[str, str]:
        """What systemd says about the service."""
        names = "ActiveState,Result,ExecMainStatus,InvocationID,Job"
        _rc, out, _err = self.module.run_command([self.systemctl, "show", "--property", names, self.unit])
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def journal(self, invocation: str) -> list[str]:
        """Lines that one run of the service wrote."""
        journalctl = self.module.get_bin_path("journalctl")
        if not journalctl or not invocation:
            return []
        command = [journalctl, "--no-pager", "--output", "cat", "--lines", "200"]
        _rc, out, _err = self.module.run_command([*command, "_SYSTEMD_INVOCATION_ID=" + invocation])
        lines: list[str] = out.splitlines()
        return lines

    def wait(self) -> None:
        """Ask until the answer is healthy; leave the module with success or failure."""
        started = time.monotonic()
        question: Question | None = None
        invocation, status, problem = "", 0, "no answer yet"
        while True:
            state = self.state()
            active = state.get("ActiveState")
            # While a job waits in the queue, the state is still that from before the start that this is about.
            if not state.get("Job") or active == "activating":
                current = state.get("InvocationID", "")
                invocation = invocation or current
                # A service that ends is started again, by systemd or by the request that waits at its socket.
                if active in ("failed", "inactive") or current != invocation:
                    lines = self.journal(invocation)
                    self.fail(diagnose(lines, state), lines)
            if question and not question.is_alive():
                status, problem = question.answer
                question = None
                if not problem:
                    seconds = round(time.monotonic() - started, 2)
                    self.module.exit_json(changed=False, seconds=seconds, status=status)
            left = self.health["timeout"] - (time.monotonic() - started)
            if left <= 0:
                reason = f"it wasn't healthy within {self.health['timeout']} s: {problem}"
                self.fail(reason, self.journal(invocation))
            if not question and active == "active":
                question = Question(self.socket, self.health, left)
                question.start()
            if question:
                question.join(PAUSE)
            else:
                time.sleep(PAUSE)

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
                },
            },
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False, seconds=0.0, status=0)
    Gate(module).wait()


if __name__ == "__main__":
    main()
