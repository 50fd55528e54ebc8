"""`--check --diff` tells the truth: what it says that a run will change is what the run changes.

Pairs of a state that a server is in and a change that is wanted of it, one after the other on one server: what a run
leaves is what the next one finds. In the full form there are more of them, on each release.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.pyweb.deploy.plugins.module_utils.serving import FILES
from ansible_collections.pyweb.deploy.tests.rig import KILL_MODULE, Play, fresh_server

from .conftest import APPLICATION, EACH_RELEASE, ROOT, Controller, Server, slot
from .prediction import CALLBACK, different, read, state_of

SITE, ROLLBACK, REMOVE = (str(ROOT / "playbooks" / f"{name}.yml") for name in ("site", "rollback", "remove"))

PASSING = {
    "unit hello-check": "it checks the release in private, and is stopped again in the same run",
    "unit hello.service": "the name of the service goes back to the slot that serves, and on to the next one",
}
"""What both runs tell and what is not there any more when the run is over, with the reason."""

COMES_ALONG = {
    "the rest of /etc": ["packages", "user"],  # they have files there
    "directories of the service's own": ["unit hello-check"],  # systemd makes them for the first one to start
    "unit hello.socket": ["unit hello-blue", "unit hello-green"],  # a slot that starts opens it (Wants=)
    "unit hello-blue": ["unit hello.socket"],  # and where that is opened anew, it starts the slot
    "unit hello-green": ["unit hello.socket"],
}
"""What changes because something else does, which was told."""

Variables = dict[str, Any]


@dataclass
class Site:
    """A server, and what is wanted of it now."""

    controller: Controller
    server: Server
    code: Path
    wanted: Variables = field(default_factory=dict)
    playbook: str = SITE
    settled: bool = False
    edits: int = 0

    def want(self, **variables: Any) -> None:
        self.wanted |= variables

    def edit(self) -> int:
        """Change the code; a number that was not used before."""
        self.edits += 1
        with (self.code / "wsgi.py").open("a") as file:
            file.write(f"# {self.edits}\n")
        return self.edits

    def play(self, *arguments: str) -> Play:
        return self.controller.play(self.server, self.wanted, *arguments, playbook=self.playbook, environment=CALLBACK)

    def converge(self) -> None:
        play = self.controller.play(self.server, self.wanted)
        assert play, play.output
        self.settled = True


def nothing(_site: Site) -> None:
    """Nothing is changed."""


def edit_a_unit(site: Site) -> None:
    site.server.run("echo '# by hand' >>$(readlink -f /etc/systemd/system/hello.service)")


def delete_the_rules(site: Site) -> None:
    site.server.run("ufw --force reset; rm /etc/ufw/*.rules.2*")


def stop_the_socket(site: Site) -> None:
    site.server.run("systemctl stop hello.socket")


def stop_the_service(site: Site) -> None:
    site.server.run("systemctl stop hello; while systemctl is-active -q hello.socket; do sleep 0.1; done")


def remove_ufw(site: Site) -> None:
    """Leave a server as many an image is: without ufw, and with lists of packages that were never fetched."""
    site.server.run(
        "ufw --force disable; dpkg --purge ufw; apt-get install --yes python3-apt;"
        "rm -r /var/lib/apt/lists/*; touch --date=yesterday /var/lib/apt/lists"
    )


def cut_off(site: Site, condition: str, during: bool = False) -> None:
    """Change the code, and cut the run off as soon as this is true on the server."""
    site.edit()
    play = site.controller.play(site.server, site.wanted, environment=site.server.cut_when(condition, during))
    assert play.rc == -9, play.output


def leave_half_of_the_code(site: Site) -> None:
    complete = "ls /opt/hello/code/*/.complete | wc -l"
    cut_off(site, f"[ $({complete}) -gt {site.server.run(complete)} ]")
    newest = site.server.run("ls -dtc /opt/hello/code/* | head -n 1")
    site.server.run(f"rm {newest}/.complete {newest}/wsgi.py")


def leave_half_a_venv(site: Site) -> None:
    add_a_requirement(site)
    site.converge()
    site.server.run("cd /opt/hello/current/venv/ && rm .complete bin/gunicorn")


def leave_two_slots(site: Site) -> None:
    """Cut a run off when the new slot has the name of the service, and the old one isn't stopped yet."""
    other = "blue" if "green" in slot(site.server) else "green"
    moved = f"readlink /etc/systemd/system/hello.service | grep -q {other}"
    cut_off(site, f"until {moved}; do sleep 0.01; done; {KILL_MODULE}", during=True)


STATES: dict[str, Callable[[Site], None]] = {
    "fresh": nothing,
    "removed": nothing,
    "gone back": nothing,
    "converged": nothing,
    "firewall rules deleted": delete_the_rules,
    "half of the code": leave_half_of_the_code,
    "a venv half-built": leave_half_a_venv,
    "the name moved, the rest not": leave_two_slots,
    "a unit edited by hand": edit_a_unit,
    "the socket stopped": stop_the_socket,
    "the service stopped": stop_the_service,
    "no ufw, no lists of packages": remove_ufw,
}


def change_code(site: Site) -> None:
    site.edit()


def change_a_setting(site: Site) -> None:
    site.edits += 1
    site.want(gunicorn_settings={"workers": 2, "timeout": 30 + site.edits})


def add_a_requirement(site: Site) -> None:
    site.edits += 1
    site.want(gunicorn_packages=["itsdangerous==2.2.0", f"packaging<{1000 + site.edits}"])


def change_environment_and_secrets(site: Site) -> None:
    site.edits += 1
    site.want(gunicorn_environment={"GREETING": f"hi-{site.edits}"}, gunicorn_secrets={"TOKEN": f"hush-{site.edits}"})


def change_the_port(site: Site) -> None:
    other = "0.0.0.0:8001" if site.wanted["gunicorn_bind"] == ["0.0.0.0:8000"] else "0.0.0.0:8000"
    site.want(gunicorn_bind=[other])


def add_an_address(site: Site) -> None:
    site.want(gunicorn_bind=[*site.wanted["gunicorn_bind"], "0.0.0.0:8002"])


def change_the_sources(site: Site) -> None:
    site.want(gunicorn_firewall_sources=[] if site.wanted.get("gunicorn_firewall_sources") else ["172.16.0.0/12"])


def several(*changes: str) -> Callable[[Site], None]:
    def change(site: Site) -> None:
        for each in changes:
            CHANGES[each](site)

    return change


CHANGES: dict[str, Callable[[Site], None]] = {
    "nothing": nothing,
    "first deploy": nothing,
    "code": change_code,
    "setting": change_a_setting,
    "requirement": add_a_requirement,
    "environment and secret": change_environment_and_secrets,
    "port": change_the_port,
    "one more address": add_an_address,
    "firewall sources": change_the_sources,
    "installer": lambda site: site.want(gunicorn_installer="uv"),
    "logs": lambda site: site.want(gunicorn_logs="files"),
    "force": lambda site: site.want(gunicorn_force=True),
    "going back": lambda site: setattr(site, "playbook", ROLLBACK),
    "remove": lambda site: setattr(site, "playbook", REMOVE),
}
CHANGES["setting, environment, secret"] = several("setting", "environment and secret")

PAIRS = [
    ("fresh", "first deploy"),
    ("converged", "nothing"),
    ("firewall rules deleted", "nothing"),
    ("half of the code", "port"),
    ("the service stopped", "setting, environment, secret"),
]
MORE = [
    ("converged", "force"),
    ("converged", "requirement"),
    ("the socket stopped", "setting"),
    ("converged", "going back"),
    ("gone back", "nothing"),
    ("a unit edited by hand", "nothing"),
    ("a venv half-built", "firewall sources"),
    ("the name moved, the rest not", "nothing"),
    ("the name moved, the rest not", "code"),
    ("the service stopped", "nothing"),
    ("no ufw, no lists of packages", "port"),
    ("converged", "one more address"),
    ("converged", "installer"),
    ("converged", "logs"),
    ("converged", "remove"),
    ("removed", "first deploy"),
]


@pytest.fixture(scope="module", params=EACH_RELEASE)
def site(
    request: pytest.FixtureRequest, controller: Controller, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Give a server on which nothing was deployed, and the example application to change."""
    for server in fresh_server("it-check", request.param, bare=True):
        code = Path(shutil.copytree(APPLICATION, tmp_path_factory.mktemp("code") / "application"))
        found = Site(controller, server, code)
        found.want(
            gunicorn_name="hello",
            gunicorn_source={"directory": str(code)},
            gunicorn_health={"path": "/healthz", "watch": 0},
            gunicorn_firewall_enable=True,
            gunicorn_bind=["0.0.0.0:8000"],
            gunicorn_settings={"workers": 2},
        )
        yield found


@pytest.mark.parametrize(("state", "change"), [*PAIRS, *(pytest.param(*pair, marks=pytest.mark.full) for pair in MORE)])
def test_what_is_predicted_happens_and_nothing_else(site: Site, state: str, change: str) -> None:
    if not site.settled and state != "fresh":
        site.converge()
    STATES[state](site)
    site.playbook = SITE
    CHANGES[change](site)
    site.settled = False

    before = state_of(site.server)
    check = site.play("--check", "--diff")
    assert check, check.output
    assert different(before, state_of(site.server)) == {}, "--check changes nothing"
    real = site.play("--diff")
    assert real, real.output
    found = different(before, state_of(site.server))
    site.wanted.pop("gunicorn_force", None)
    site.settled = True

    predicted, done = read(check), read(real)
    told = "\n".join(["", f"{state}, {change}: {check.seconds:.1f} and {real.seconds:.1f} s", *predicted.plan])
    print(told)
    assert [str(each) for each in predicted.changes] == [str(each) for each in done.changes]
    assert predicted.count == done.count
    assert predicted.diff == done.diff
    assert predicted.plan[: len(done.plan)] == done.plan
    assert done.plan or not done.count

    texts = {each["after_header"]: each["after"] for each in predicted.diff if "after" in each}
    release = site.server.run("readlink -f /opt/hello/current", check=False)
    if change == "going back":
        assert f"{release}/gunicorn.conf.py" in texts, "the diff shows a configuration that nobody writes"
    if (state, change) in (("converged", "nothing"), ("converged", "force")):
        assert done.count == 0
    if state == "fresh":
        assert "\nworkers = 2\n" in texts[f"{release}/gunicorn.conf.py"], "the diff shows the configuration"
        assert texts.keys() == {f"{release}/{name}" for name in FILES}, "and of the rest a line"
    if change != "remove":
        assert site.server.get(port=int(site.wanted["gunicorn_bind"][0].rpartition(":")[2])) == "Hello, World!"

    things = {each.thing for each in done.changes}
    untold = {name: lines for name, lines in found.items() if name not in things}
    assert {name: lines for name, lines in untold.items() if not things.intersection(COMES_ALONG.get(name, []))} == {}
    unseen = things - set(found)
    assert {name for name in unseen if not any(re.fullmatch(pattern, name) for pattern in PASSING)} == set()
    for secret in ("hush-", "hi-"):
        assert secret not in told
    assert "hush-" not in check.output + real.output


def test_the_diff_of_a_word(site: Site) -> None:
    """What a reviewer reads of a change of the code and of a setting: their lines, and nothing else."""
    site.playbook = SITE
    site.converge()
    old = site.server.run("readlink -f /opt/hello/current/code /opt/hello/current").split()
    code = site.code / "wsgi.py"
    code.write_text(code.read_text().replace("Greet the visitor", "Welcome the visitor"))
    timeout = site.wanted["gunicorn_settings"].get("timeout", 30)
    site.want(gunicorn_settings={"workers": 2, "timeout": timeout + 1})
    shown = []
    for arguments in (["--check"], []):
        play = site.controller.play(site.server, site.wanted, "--diff", *arguments)
        assert play, play.output
        lines = [line for line in play.output.splitlines() if line[:1] in ("+", "-", "/")]
        shown.append([line for line in lines if not line.endswith(": present -> absent")])  # what is old enough goes
    new = site.server.run("readlink -f /opt/hello/current/code /opt/hello/current").split()
    assert shown[0] == shown[1], "it is predicted"
    assert shown[1] == [
        f"--- before: {old[0]}/wsgi.py",
        f"+++ after: {new[0]}/wsgi.py",
        '-    """Greet the visitor."""',
        '+    """Welcome the visitor."""',
        f"--- before: {old[1]}/gunicorn.conf.py",
        f"+++ after: {new[1]}/gunicorn.conf.py",
        f"-timeout = {timeout}",
        f"+timeout = {timeout + 1}",
    ]
