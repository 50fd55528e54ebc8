"""What a look at a fleet amounts to, in words, as a table, as JSON and as a page."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.plugins.plugin_utils import status, status_page

Data = dict[str, Any]

MADE = "2026-11-25T20:15:00Z"
APPLICATION: Data = {
    "release": "3fa92c1b0d4e",
    "state": "active",
    "sub_state": "running",
    "result": "success",
    "socket": "active",
    "since": "2026-11-22T08:30:07Z",
    "up": 86400,
    "gunicorn": "27.0.1",
    "python": "3.11.2",
    "workers": 3,
    "memory": 93323264,
    "health": {"status": 200, "problem": "", "milliseconds": 3.1},
}
NO_WORK: Data = {"stages": [], "problems": [], "work": False, "summary": ["firewall: left alone"]}
WORK: Data = {**NO_WORK, "work": True, "stages": ["check", "switch"], "summary": ["what differs: code"]}
HOST: Data = {
    "name": "shop",
    "described": True,
    "reached": True,
    "problem": "",
    "applications": {"shop": APPLICATION},
    "plan": NO_WORK,
    "unknown": "",
}
STOPPED = {"state": "inactive", "sub_state": "dead", "socket": "inactive", "up": None, "health": None}
REFUSED = {"status": 500, "problem": "GET / answered 500, not 200", "milliseconds": 7}


def report(found: Data, strict: bool = False) -> Data:
    return status.report({"web1": found}, strict, MADE)


def application(**changes: Any) -> Data:
    return {**HOST, "applications": {"shop": {**APPLICATION, **changes}}}


@pytest.mark.parametrize(
    ("found", "state", "because"),
    [
        (HOST, "healthy", ""),
        ({**HOST, "plan": WORK}, "drifted", ""),
        (application(**STOPPED), "stopped", ""),
        ({**application(**STOPPED), "plan": WORK}, "stopped", ""),
        (application(**{**STOPPED, "socket": "active"}), "stopped", "the next request starts it"),
        (application(health=REFUSED), "failed", "GET / answered 500, not 200"),
        (application(health=None), "failed", "its health check is unknown: policy.json is gone"),
        (application(socket="inactive"), "failed", "its public socket is inactive"),
        (
            application(state="activating", sub_state="auto-restart", result="exit-code"),
            "failed",
            "systemd says: activating (auto-restart), result exit-code",
        ),
        (application(release=""), "not deployed", "no release has served"),
        ({**HOST, "applications": {}}, "not deployed", ""),
        ({**HOST, "applications": {}, "described": False}, "not deployed", "the role put nothing on the host"),
        ({**HOST, "reached": False, "problem": "Task failed: no\nx"}, "unreachable", "no"),
        ({**HOST, "problem": "Missing sudo password"}, "failed", "Missing sudo password"),
        ({}, "failed", "the look at the host broke off; the output above says why"),
        ({"failed": True, "msg": "no"}, "failed", "the look at the host broke off; the output above says why"),
    ],
)
def test_a_word_for_the_state(found: Data, state: str, because: str) -> None:
    whole = report(found)
    (row,) = whole["applications"]
    assert (row["state"], row["because"]) == (state, because)
    assert whole["well"] is (state in ("healthy", "drifted"))
    assert ("web1" in whole["unhealthy"]) is not whole["well"]


def test_no_host_is_not_well() -> None:
    assert status.report({}, False, MADE)["well"] is False


@pytest.mark.parametrize(
    ("plan", "unknown", "drift", "why", "complaint"),
    [
        (NO_WORK, "", [], "", None),
        (WORK, "", ["what differs: code"], "", "shop is drifted"),
        ({**WORK, "summary": []}, "", ["stages of a deploy with something to do: check, switch"], "", "drifted"),
        ({}, "pass: no such key", None, "pass: no such key", "of shop the drift is unknown"),
        ({"problems": ["a\nb"]}, "", None, "a deploy would stop: a", "of shop the drift is unknown"),
    ],
)
def test_drift(plan: Data, unknown: str, drift: list[str] | None, why: str, complaint: str | None) -> None:
    found = {**HOST, "plan": plan, "unknown": unknown}
    (row,) = report(found)["applications"]
    assert (row["drift"], row["drift_unknown"]) == (drift, why)
    assert report(found)["well"] is True
    strict = report(found, strict=True)
    assert strict["well"] is (complaint is None)
    assert complaint is None or complaint in strict["unhealthy"]["web1"][0]


def test_what_the_inventory_does_not_describe() -> None:
    found = {**HOST, "plan": WORK, "applications": {"shop": APPLICATION, "blog": {**APPLICATION, **STOPPED}}}
    blog, shop = report(found)["applications"]
    assert (blog["application"], blog["described"], blog["drift"]) == ("blog", False, None)
    assert (shop["application"], shop["described"], shop["drift"]) == ("shop", True, ["what differs: code"])
    assert report(found)["unhealthy"] == {"web1": ["blog is stopped"]}
    alone = {**HOST, "described": False, "plan": {}}
    assert report(alone, strict=True)["well"] is True, "nothing is wanted there"
    assert [row["state"] for row in report({**found, "name": "new"})["applications"]] == [
        "stopped",
        "not deployed",
        "healthy",
    ]


FLEET: Data = {
    "web1": HOST,
    "web2": {**HOST, "plan": WORK},
    "web3": application(**STOPPED),
    "web4": {**HOST, "reached": False, "problem": "refused"},
}


def test_the_table() -> None:
    """What is worst stands first, hosts of one state in their own order."""
    assert status.table(status.report(FLEET, False, MADE)) == [
        "HOST  APPLICATION  STATE        RELEASE       UP   GUNICORN  PYTHON  WORKERS  MEMORY  HEALTH     DRIFT",
        "web4  shop         unreachable  -             -    -         -       -        -       -          -",
        "web3  shop         stopped      3fa92c1b0d4e  -    27.0.1    3.11.2  3        89 MiB  -          none",
        "web2  shop         drifted      3fa92c1b0d4e  1 d  27.0.1    3.11.2  3        89 MiB  200, 3 ms  yes",
        "web1  shop         healthy      3fa92c1b0d4e  1 d  27.0.1    3.11.2  3        89 MiB  200, 3 ms  none",
        "web4 shop: refused",
        "web2 shop: a deploy would change: what differs: code",
    ]


def test_what_failed_stands_first() -> None:
    hosts = {"web1": HOST, "web2": {}, "web3": application(release=""), "web4": application(health=REFUSED)}
    rows = status.report({**hosts, "web5": FLEET["web4"], "web6": HOST}, False, MADE)["applications"]
    assert [row["host"] for row in rows] == ["web2", "web4", "web5", "web3", "web1", "web6"]


def test_a_cell_is_never_empty() -> None:
    (row,) = report(application(release="", gunicorn="", python=""))["applications"]
    shown = status.cells(row)
    assert (row["state"], shown["release"], shown["gunicorn"], shown["python"]) == ("not deployed", "-", "-", "-")
    assert all(shown.values())


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7199, "1 h"), (86400, "1 d"), (10**7, "115 d")]
)
def test_durations(seconds: int, shown: str) -> None:
    assert status.duration(seconds) == shown


def test_a_terminal_gets_no_commands() -> None:
    evil = application(health={**REFUSED, "problem": "\x1b[2J\x9bred"}, python="3\x1b[1m")
    assert all(line.isprintable() for line in status.table(report(evil)))


def test_json() -> None:
    found = json.loads(status.as_json(status.report(FLEET, True, MADE)))
    assert set(found) == {"made", "strict", "well", "applications"}
    assert (found["made"], found["strict"], found["well"]) == (MADE, True, False)
    assert [row["state"] for row in found["applications"]] == ["unreachable", "stopped", "drifted", "healthy"]
    keys = set(found["applications"][-1])
    assert all(set(row) == keys for row in found["applications"]), "each row has every key"
    assert found["applications"][-1]["health"] == {"status": 200, "problem": "", "milliseconds": 3.1}


class Page(HTMLParser):
    """Elements and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: dict[str, list[str | None]] = {}
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            self.attributes.setdefault(key, []).append(value)

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page() -> None:
    page = Page(status_page.page(status.report(FLEET, False, MADE)))
    assert page.tags.count("article") == 4
    for word in ("shop on web1", "unreachable", "a deploy would change: what differs: code", "89 MiB", "20:15:00 UTC"):
        assert word in page.words
    assert not {"src", "href", "onload"} & set(page.attributes), "it needs no other file"
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "width=device-width, initial-scale=1" in page.attributes["content"]


def test_the_page_escapes_what_comes_from_hosts() -> None:
    evil = '"><script>alert(1)</script>'
    changes = dict.fromkeys(("release", "gunicorn", "python", "since"), evil)
    found = {**application(**changes, health={**REFUSED, "problem": evil}), "unknown": evil, "plan": {}}
    hosts = {evil: found, "b": {**HOST, "applications": {evil: APPLICATION}, "plan": {**WORK, "summary": [evil]}}}
    hosts["c"] = {**HOST, "plan": {**WORK, "summary": [evil]}}
    page = Page(status_page.page(status.report(hosts, False, MADE)))
    assert "script" not in page.tags
    assert page.words.count("alert(1)") >= 8
