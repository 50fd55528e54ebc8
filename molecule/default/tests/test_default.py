"""Effects of the converged play, seen from inside the servers and from other machines on their network."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import testinfra
import yaml
from testinfra.host import Host

ADDRESSES = {"pyweb-molecule-1": "198.51.100.11", "pyweb-molecule-2": "198.51.100.12"}
VARIABLES = Path(__file__).parents[1] / "vars" / "environment.yml"
ENVIRONMENT: dict[str, str] = yaml.safe_load(VARIABLES.read_text())["shop_environment"]


@pytest.fixture(scope="module", params=sorted(ADDRESSES))
def name(request: pytest.FixtureRequest) -> str:
    """Name of a server's container."""
    return str(request.param)


@pytest.fixture(scope="module")
def server(name: str) -> Host:
    """One of the servers, as root."""
    return testinfra.get_host(f"docker://{name}")


@pytest.fixture(scope="module")
def address(name: str) -> str:
    """The server's IP address."""
    return ADDRESSES[name]


def fetch(client: str, url: str, timeout: float = 3) -> str:
    """Body that a client container gets; raises `subprocess.CalledProcessError` where it gets none."""
    script = f"import urllib.request as u; print(u.urlopen({url!r}, timeout={timeout}).read().decode(), end='')"
    command = ["docker", "exec", f"pyweb-molecule-{client}", "python3", "-c", script]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def reaches(client: str, url: str) -> bool:
    """Whether a client container gets an answer."""
    try:
        fetch(client, url)
    except subprocess.CalledProcessError:
        return False
    return True


def eventually(check: Callable[[], bool], seconds: float = 30) -> bool:
    """Whether a check becomes true within the time."""
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


def journal(server: Host, unit: str) -> str:
    """End of a unit's journal, for the message of a failed test."""
    return str(server.run(f"journalctl --no-pager -n 30 -u '{unit}*'").stdout)


def show(server: Host, unit: str, name: str) -> str:
    """Effective value of a unit's property."""
    return str(server.check_output(f"systemctl show --property {name} --value {unit}")).strip()


def test_the_application_answers_another_machine(address: str, server: Host) -> None:
    assert fetch("client", f"http://{address}:8000/") == "Hello, World!", journal(server, "app")
    assert fetch("client", f"http://{address}:8000/healthz") == "ok"
    assert fetch("client", f"http://{address}:8080/") == "winter sale", journal(server, "shop")


def test_the_firewall_lets_in_whom_it_should(address: str) -> None:
    assert reaches("stranger", f"http://{address}:8000/"), "port 8000 is open to all"
    assert reaches("client", f"http://{address}:8080/"), "port 8080 is open to the client"
    assert not reaches("stranger", f"http://{address}:8080/"), "port 8080 is open to nobody else"


def test_a_port_that_nobody_opened_is_closed(server: Host, name: str, address: str) -> None:
    port = 8001
    process = f"docker exec {name} timeout 20 python3 -m http.server {port} --bind 0.0.0.0"
    with subprocess.Popen(process.split(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        assert eventually(lambda: server.socket(f"tcp://0.0.0.0:{port}").is_listening)
        assert not reaches("client", f"http://{address}:{port}/")
        server.run(f"pkill -f 'http.server {port}'")
        running.wait()


def test_the_rules_are_marked_as_ours(server: Host) -> None:
    status = server.check_output("ufw status")
    assert "Status: active" in status
    rules = [line for line in status.splitlines() if "pyweb.deploy" in line and "(v6)" not in line]
    assert [line.split()[0] for line in rules if line.endswith("pyweb.deploy app")] == ["8000/tcp"]
    assert any("8080/tcp" in line and "198.51.100.21" in line for line in rules), status
    assert not any("8080" in line and "Anywhere" in line for line in rules), status


@pytest.mark.parametrize(("app", "user"), [("app", "app"), ("shop", "www-data")])
def test_no_process_runs_as_root(server: Host, app: str, user: str) -> None:
    group = show(server, f"{app}.service", "ControlGroup")
    pids = server.check_output(f"cat /sys/fs/cgroup{group}/cgroup.procs").split()
    assert len(pids) >= 2, "a master and at least one worker"
    owners = {server.check_output(f"stat -c %U /proc/{pid}") for pid in pids}
    assert owners == {user}


def test_the_user_can_not_log_in(server: Host) -> None:
    user = server.user("app")
    assert user.shell == "/usr/sbin/nologin"
    assert user.home == "/nonexistent"
    assert not server.file("/nonexistent").exists
    assert server.check_output("passwd --status app").split()[1] == "L"


def test_the_service_can_write_nothing_that_it_runs(server: Host) -> None:
    places = "/opt/app /etc/systemd/system"
    assert server.check_output(f"find {places} ! -type l '(' -user app -o -perm -o+w ')'") == ""
    assert server.check_output(f"find {places} ! -type l -group app -perm -g+w") == ""


@pytest.mark.parametrize("app", ["app", "shop"])
def test_the_service_is_locked_down(server: Host, app: str) -> None:
    assert show(server, f"{app}.service", "ProtectSystem") == "strict"
    assert show(server, f"{app}.service", "NoNewPrivileges") == "yes"
    assert show(server, f"{app}.service", "CapabilityBoundingSet") == ""
    result = server.run(f"systemd-analyze security --no-pager --threshold=12 {app}.service")
    assert result.rc == 0, result.stdout.splitlines()[-1]


def test_own_directives_win(server: Host) -> None:
    assert show(server, "shop.service", "MemoryMax") == str(256 * 1024 * 1024)
    assert show(server, "shop.service", "TasksMax") == "50"
    assert show(server, "shop.service", "Nice") == "5"
    assert show(server, "app.service", "MemoryMax") == "infinity"


def test_only_one_slot_runs_and_the_name_leads_to_it(server: Host) -> None:
    states = {slot: show(server, f"app-{slot}.service", "ActiveState") for slot in ("blue", "green", "check")}
    assert sorted(states.values()) == ["active", "inactive", "inactive"]
    live = next(slot for slot, state in states.items() if state == "active")
    assert show(server, "app.service", "Id") == f"app-{live}.service"
    assert show(server, f"app-{live}.service", "NRestarts") == "0"
    assert show(server, "app.socket", "ActiveState") == "active"


def test_settings_are_in_force(server: Host) -> None:
    configuration = server.file("/opt/shop/current/gunicorn.conf.py").content_string
    assert "workers = 2\n" in configuration
    group = show(server, "shop.service", "ControlGroup")
    pids = server.check_output(f"cat /sys/fs/cgroup{group}/cgroup.procs").split()
    assert len(pids) == 3, "a master and two workers"
    assert show(server, "shop.socket", "Backlog") == "64"
    log = server.file("/var/log/gunicorn/shop/access.log")
    assert log.user == "www-data"
    assert '"GET / HTTP/1.1" 200' in log.content_string
    assert "hook of worker" in journal(server, "shop")


def test_workers_follow_the_cpus_of_the_service(server: Host) -> None:
    main = show(server, "app.service", "MainPID")
    cpus = int(server.check_output("nproc"))
    children = server.check_output(f"cat /proc/{main}/task/{main}/children").split()
    assert len(children) == 2 * cpus + 1


def test_the_environment_arrives_byte_for_byte(address: str) -> None:
    query = "&".join(f"name={key}" for key in ENVIRONMENT)
    assert json.loads(fetch("client", f"http://{address}:8080/environment?{query}")) == ENVIRONMENT


def test_what_stays_at_home_stays_at_home(address: str) -> None:
    where = json.loads(fetch("client", f"http://{address}:8080/where"))
    assert where["files"] == [".complete", "requirements", "shop"]
    assert where["cwd"].startswith("/opt/shop/code/")
    assert where["prefix"].startswith("/opt/shop/venvs/")


def test_a_unix_socket_serves_too(server: Host) -> None:
    script = (
        "import http.client as h, socket; c = h.HTTPConnection('localhost'); "
        "c.sock = socket.socket(socket.AF_UNIX); c.sock.connect('/run/shop.sock'); "
        "c.request('GET', '/'); print(c.getresponse().read().decode())"
    )
    assert server.check_output(f'python3 -c "{script}"') == "winter sale"


def test_a_killed_worker_is_replaced(server: Host, address: str) -> None:
    main = show(server, "app.service", "MainPID")

    def workers() -> set[str]:
        return set(server.check_output(f"cat /proc/{main}/task/{main}/children").split())

    before = workers()
    victim = sorted(before)[0]
    server.check_output(f"kill -KILL {victim}")
    assert eventually(lambda: len(workers()) == len(before) and victim not in workers()), journal(server, "app")
    assert fetch("client", f"http://{address}:8000/") == "Hello, World!"


def test_a_killed_master_is_replaced(server: Host, address: str) -> None:
    main = show(server, "app.service", "MainPID")
    server.check_output(f"kill -KILL {main}")
    assert fetch("client", f"http://{address}:8000/", timeout=15) == "Hello, World!", journal(server, "app")
    assert eventually(lambda: show(server, "app.service", "MainPID") not in ("0", main))


def test_after_a_restart_of_the_machine_the_site_is_back(server: Host, name: str, address: str) -> None:
    live = show(server, "app.service", "Id")
    subprocess.run(["docker", "restart", name], check=True, capture_output=True)
    assert eventually(lambda: reaches("client", f"http://{address}:8000/")), journal(server, "app")
    assert eventually(lambda: reaches("client", f"http://{address}:8080/")), journal(server, "shop")
    assert show(server, "app.service", "Id") == live
    others = [slot for slot in ("app-blue.service", "app-green.service") if slot != live]
    assert show(server, others[0], "ActiveState") == "inactive", "a restart must not wake an old release"
    assert server.run("systemctl is-failed 'app*' 'shop*'").rc != 0
    assert not reaches("stranger", f"http://{address}:8080/"), "the firewall is back too"


def test_nothing_is_left_of_the_check(server: Host) -> None:
    assert server.check_output("find /run/gunicorn -name '*-check*'") == ""


if os.environ.get("MOLECULE_SCENARIO_NAME") is None:
    pytest.skip("runs inside `molecule verify`, which makes the servers", allow_module_level=True)
