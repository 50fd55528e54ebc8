"""Logs as files: rotated by logrotate itself under load, also during a switch; as JSON, whatever clients send."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import APPLICATION, Controller, Server, eventually, main_pid, slot

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


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the example application, with a page that logs much; all steps of this file deploy this copy."""
    copy = Path(shutil.copytree(APPLICATION, tmp_path_factory.mktemp("logs") / "application"))
    with (copy / "wsgi.py").open("a") as file:
        file.write(FLOOD)
    return copy


@pytest.fixture
def written(controller: Controller, server: Server, variables: Variables) -> Server:
    """Give the server with the logs in files."""
    variables.update(gunicorn_logs="files", gunicorn_access_log="json")
    if not server.run(f"ls {ROTATION}", check=False):
        server.run(f"rm -rf {LOGS}/*")
        play = controller.play(server, variables)
        assert play, play.output
        assert f"write {ROTATION}, to rotate the log files" in play.output
    return server


def test_no_line_is_lost(controller: Controller, written: Server, variables: Variables) -> None:
    before = main_pid(written)
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
    assert main_pid(written) != before
    assert writer.failures == []
    lines = logged(written)
    numbers = [int(line["url"].partition("number=")[2]) for line in lines if "number=" in line["url"]]
    assert (len(numbers), set(numbers)) == (len(writer.answered), writer.answered)
    assert {line["user_agent"] for line in lines if "number=" in line["url"]} == {HOSTILE}
    assert len({line["release"] for line in lines}) == 2
    assert int(written.run(f"ls {LOGS}/access.log.* | wc -l")) >= 5, "it was rotated"
    assert written.run(f"stat --format '%U %a' {LOGS}/access.log {LOGS}/error.log") == "hello 600\nhello 600"
    # Nothing holds a file any more that was rotated. (Root of a container may not look; the user may.)
    held = f"runuser -u hello -- find /proc/[0-9]*/fd -lname '{LOGS}/*' -printf '%l\\n' 2>/dev/null | sort -u"
    assert eventually(lambda: written.run(held) == f"{LOGS}/access.log\n{LOGS}/error.log")


def test_the_journal_takes_a_flood(written: Server) -> None:
    """The limit of systemd itself would stop at some ten thousand lines in half a minute."""
    written.get("/flood")
    assert int(written.run("journalctl --sync; journalctl -t hello --output cat | grep -c '^flood '")) == 60000


@pytest.mark.full
def test_a_rotation_that_somebody_changed(controller: Controller, written: Server, variables: Variables) -> None:
    play = controller.play(written, variables)
    assert play, play.output
    assert controller.play(written, {**variables, "gunicorn_force": True}).changed == 0
    written.run(f"echo >>{ROTATION}")
    serving = slot(written)
    predicted = controller.play(written, variables, "--check", "--diff")
    assert (predicted.changed, predicted.output.count(f"after: {ROTATION}")) == (1, 1), predicted.output
    assert controller.play(written, variables).changed == 1
    assert slot(written) == serving, "it is put right without a switch"


@pytest.mark.full
def test_a_broken_release_shows_its_traceback(
    controller: Controller, written: Server, variables: Variables, application: Path
) -> None:
    code = application / "wsgi.py"
    good = code.read_text()
    code.write_text("import a_module_that_nobody_has\n" + good)
    play = controller.play(written, variables)
    assert not play
    assert "the application failed to start: ModuleNotFoundError: No module named" in play.output
    assert "line 1, in <module>" in play.output
    assert "a_module_that_nobody_has" not in written.run(f"cat {LOGS}/error.log")

    # What fails in its slot only is in the file, and in the message too.
    worse = "import os, signal, threading\nif not os.environ['RUNTIME_DIRECTORY'].endswith('-check'):\n"
    worse += "    threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGKILL)).start()\n"
    code.write_text(worse + good)
    play = controller.play(written, {**variables, "gunicorn_health": {"path": "/healthz", "watch": 4}})
    code.write_text(good)
    assert not play
    assert "was sent SIGKILL" in play.output, play.output
    assert "was sent SIGKILL" in written.run(f"cat {LOGS}/error.log")


def test_back_to_the_journal(controller: Controller, written: Server, variables: Variables) -> None:
    variables.update(gunicorn_logs="journal", gunicorn_access_log="text")
    play = controller.play(written, variables)
    assert play, play.output
    assert f"remove {ROTATION}" in play.output
    assert written.run(f"ls {ROTATION}", check=False) == "", "nothing rotates any more"
    assert {"access.log", "error.log"} <= set(written.run(f"ls {LOGS}").split()), "the files stay"


@pytest.mark.full
def test_a_roll_back_to_files(controller: Controller, written: Server, variables: Variables) -> None:
    in_journal = {**variables, "gunicorn_logs": "journal", "gunicorn_access_log": "text"}
    predicted = controller.play(written, in_journal, "--check")
    assert f"remove {ROTATION}" in predicted.output
    play = controller.play(written, in_journal)
    assert play, play.output
    # The release says where its logs go, not the variables.
    play = controller.play(written, in_journal, "-e", "gunicorn_release=previous")
    assert play, play.output
    assert "postrotate" in written.run(f"cat {ROTATION}")
    play = controller.play(written, in_journal)
    assert play, play.output
