"""Logs as files: rotated by logrotate itself under load, also during a switch; as JSON, whatever clients send."""

from __future__ import annotations

import http.client
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import Controller, Server, slot

Variables = dict[str, Any]

ROTATION = "/etc/logrotate.d/pyweb.deploy-hello"
LOGS = "/var/log/gunicorn/hello"
HOSTILE = b'x"},{"status":200}\\ \xff\xfe\x80 %(h)s \xe2\x82\xac'.decode("latin-1")
FLOOD = """

@app.get("/flood")
def flood():
    for number in range(60000):
        print("flood", number)
    return ""
"""


class Writer:
    """Clients that ask about 500 times a second together, each request with a number of its own in its URL."""

    def __init__(self, address: str, first: int = 0, rate: float = 500, clients: int = 10) -> None:
        self.address, self.first, self.pause, self.clients = address, first, clients / rate, clients
        self.answered: set[int] = set()
        self.failures: list[str] = []
        self.stop = threading.Event()

    def __enter__(self) -> Writer:
        self.started = time.monotonic()
        self.threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(self.clients)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()
        self.rate = len(self.answered) / (time.monotonic() - self.started)
        print(f"\n{len(self.answered)} answers, {self.rate:.0f} a second, {len(self.failures)} failures")

    def _ask(self, client: int) -> None:
        connection = http.client.HTTPConnection(self.address, 8000, timeout=20)
        due, number = time.monotonic(), self.first + client
        while not self.stop.wait(max(0.0, due - time.monotonic())):
            try:
                connection.request("GET", f"/healthz?number={number}", headers={"User-Agent": HOSTILE})
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    self.answered.add(number)
                else:
                    self.failures.append(f"status {answer.status}")
            except (OSError, http.client.HTTPException) as problem:
                self.failures.append(repr(problem))
                connection.close()
            # What was late is not made up for: the rate is one that the machine bears.
            due, number = max(due + self.pause, time.monotonic()), number + self.clients
        connection.close()


def logged(server: Server) -> list[dict[str, Any]]:
    """Every line of the access log, in whichever file it is now."""
    return [json.loads(line) for line in server.run(f"zcat --force {LOGS}/access.log*").splitlines()]


def rotate(server: Server) -> None:
    """Rotate as the role's configuration says, but keep what a slow machine makes of more than 14 turns."""
    server.run(f"sed 's/rotate 14/rotate 99/' {ROTATION} >/root/rotation && logrotate --force /root/rotation")


@pytest.fixture
def written(controller: Controller, site: Server, variables: Variables, application: Path) -> Server:
    """Give the server with the logs in files; the next test has them in the journal again."""
    with (application / "wsgi.py").open("a") as file:
        file.write(FLOOD)
    site.run(f"rm -rf {LOGS}/*")
    variables.update(gunicorn_logs="files", gunicorn_access_log="json")
    play = controller.play(site, variables)
    assert play, play.output
    assert f"write {ROTATION}, to rotate the log files" in play.output
    return site


def test_no_line_is_lost(controller: Controller, written: Server, variables: Variables) -> None:
    before = set(written.run("systemctl show --property MainPID --value hello").split())
    with Writer(written.address) as writer:
        for _turn in range(3):
            time.sleep(2)
            rotate(written)
        switch = threading.Thread(
            target=lambda: plays.append(controller.play(written, {**variables, "gunicorn_environment": {"A": "2"}}))
        )
        plays: list[Any] = []
        switch.start()
        while switch.is_alive():
            rotate(written)
            switch.join(5)  # longer than the old slot needs to stop: its last lines are in the file that was renamed
        rotate(written)
        time.sleep(1)
    assert plays[0], plays[0].output
    assert set(written.run("systemctl show --property MainPID --value hello").split()) != before
    assert writer.failures == []
    lines = logged(written)
    numbers = [int(line["url"].partition("number=")[2]) for line in lines if "number=" in line["url"]]
    assert (len(numbers), set(numbers)) == (len(writer.answered), writer.answered)
    assert {line["user_agent"] for line in lines if "number=" in line["url"]} == {HOSTILE}
    assert len({line["generation"] for line in lines}) == 2
    assert int(written.run(f"ls {LOGS}/access.log.* | wc -l")) >= 5, "it was rotated"
    assert written.run(f"stat --format '%U %a' {LOGS}/access.log {LOGS}/error.log") == "hello 600\nhello 600"
    # Nothing holds a file any more that was rotated. (Root of a container may not look; the user may.)
    held = f"runuser -u hello -- find /proc/[0-9]*/fd -lname '{LOGS}/*' -printf '%l\\n' 2>/dev/null | sort -u"
    assert written.run(held) == f"{LOGS}/access.log\n{LOGS}/error.log"

    # A no-op, forced or not; a file that somebody changed is put right without a switch.
    settled = {**variables, "gunicorn_environment": {"A": "2"}}
    assert controller.play(written, {**settled, "gunicorn_force": True}).changed == 0
    written.run(f"echo >>{ROTATION}")
    serving = slot(written)
    predicted = controller.play(written, settled, "--check", "--diff")
    assert (predicted.changed, predicted.output.count(f"after: {ROTATION}")) == (1, 1), predicted.output
    assert controller.play(written, settled).changed == 1
    assert slot(written) == serving

    # systemd's own limit would stop at some ten thousand lines in half a minute.
    written.get("/flood")
    assert int(written.run("journalctl --sync; journalctl -t hello --output cat | grep -c '^flood '")) == 60000


def test_a_broken_release_shows_its_traceback(
    controller: Controller, written: Server, variables: Variables, application: Path
) -> None:
    good = (application / "wsgi.py").read_text()
    (application / "wsgi.py").write_text("import a_module_that_nobody_has\n" + good)
    play = controller.play(written, variables)
    assert not play
    assert "hello-check.service: the application failed to start: ModuleNotFoundError: No module named" in play.output
    assert "line 1, in <module>" in play.output
    assert "a_module_that_nobody_has" not in written.run(f"cat {LOGS}/error.log")

    # What fails in its slot only is in the file, and in the message too.
    worse = "import os, signal, threading\nif not os.environ['RUNTIME_DIRECTORY'].endswith('-check'):\n"
    worse += "    threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGKILL)).start()\n"
    (application / "wsgi.py").write_text(worse + good)
    health = {**variables["gunicorn_health"], "watch": 4}
    play = controller.play(written, {**variables, "gunicorn_health": health, "gunicorn_settings": {"workers": 2}})
    assert not play
    assert "was sent SIGKILL" in play.output, play.output
    assert "was sent SIGKILL" in written.run(f"cat {LOGS}/error.log")

    # Back to the journal: nothing rotates any more, and the files stay.
    (application / "wsgi.py").write_text(good)
    variables.update(gunicorn_logs="journal", gunicorn_access_log="text")
    predicted = controller.play(written, variables, "--check")
    assert f"remove {ROTATION}" in predicted.output
    play = controller.play(written, variables)
    assert play, play.output
    assert written.run(f"ls {ROTATION} 2>&1; ls {LOGS}", check=False).splitlines()[-2:] == ["access.log", "error.log"]
    assert "No such file" in written.run(f"ls {ROTATION} 2>&1", check=False)
    # And back again, without the variables: the generation has it.
    play = controller.play(written, variables, "-e", "gunicorn_release=previous")
    assert play, play.output
    assert "postrotate" in written.run(f"cat {ROTATION}")
