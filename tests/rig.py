"""The rig's servers and plays against them over SSH, for all tests that need a server."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RELEASES = os.environ.get("PYWEB_RELEASES", "debian12 debian13").split()
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
SAMPLER = Path(__file__).parent / "integration" / "remote" / "sampler.py"
PLUGINS = Path(__file__).parent / "callback_plugins"
CALLBACKS = {"ANSIBLE_CALLBACK_PLUGINS": str(PLUGINS), "ANSIBLE_CALLBACKS_ENABLED": "cut"}
"""Environment of a run with the callback cut."""
SSH_CONFIG = Path(os.environ.get("RIG_STATE", ROOT / ".cache" / "rig")) / "ssh_config"


def rig(*arguments: str) -> str:
    """Call rig/server; its output."""
    command = [str(ROOT / "rig" / "server"), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def files_with(needles: Iterable[str], *directories: Path) -> str:
    """Files of the controller that hold one of the texts."""
    command = ["grep", "-rlsaF", "--file=-", *map(str, directories)]
    return subprocess.run(command, check=False, capture_output=True, text=True, input="\n".join(needles)).stdout


def publish(directory: Path) -> None:
    """Make a Git repository with the tracked and the new files of the checkout, as a push would publish them."""
    git = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.com"]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, directory / name
        if not source.exists() and not source.is_symlink():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    subprocess.run([*git, "init", "-q"], cwd=directory, check=True)
    subprocess.run([*git, "add", "-A"], cwd=directory, check=True)
    subprocess.run([*git, "commit", "-qm", "Publish"], cwd=directory, check=True)


@dataclass(frozen=True)
class Server:
    """A server of the rig."""

    name: str
    address: str

    def run(self, command: str, check: bool = True) -> str:
        """Output of a shell command, run as root."""
        docker = ["docker", "exec", f"pyweb-{self.name}", "sh", "-c", command]
        return subprocess.run(docker, check=check, capture_output=True, text=True).stdout.strip()

    def put(self, path: Path | str, directory: str) -> None:
        """Copy a file, or what is in a directory where the path ends in a dot."""
        subprocess.run(["docker", "cp", str(path), f"pyweb-{self.name}:{directory}"], check=True, capture_output=True)

    def holding(self, *needles: str) -> str:
        """Files of the whole server, and lines of its journal, that hold one of the texts.

        Of the files those that were written in the last hours: the rest is as it was in the image.
        """
        command = r"""
            cat >/dev/shm/needles
            journalctl --output=export >/dev/shm/journal
            find / -path /proc -prune -o -path /sys -prune -o -path /dev/shm/needles -o -path /dev/shm/journal -o \
                -type f -cmin -300 -print0 | xargs -0 grep -laFf /dev/shm/needles
            grep -aFf /dev/shm/needles /dev/shm/journal
            rm /dev/shm/needles /dev/shm/journal
        """
        docker = ["docker", "exec", "--interactive", f"pyweb-{self.name}", "sh", "-c", command]
        return subprocess.run(
            docker, check=True, capture_output=True, text=True, input="\n".join(needles)
        ).stdout.strip()

    @contextlib.contextmanager
    def sampled(self) -> Iterator[list[str]]:
        """Collect every command line and environment that a process has meanwhile; complete at the end."""
        samples: list[str] = []
        self.run("mkdir -p /srv/sampler")
        self.put(SAMPLER, "/srv/sampler/")
        self.run("systemd-run --quiet --unit=sampler /usr/bin/python3 /srv/sampler/sampler.py /srv/sampler/samples")
        try:
            yield samples
        finally:
            self.run("systemctl stop sampler")
            samples += self.run("cat /srv/sampler/samples && rm /srv/sampler/samples").splitlines()

    def stamps(self, *places: str) -> str:
        """Each file below these paths with its inode and the time it was last touched: the same where nothing wrote."""
        return self.run(f"find {' '.join(places)} -printf '%p %i %C@\\n' | sort")

    def cut_when(self, condition: str, during: bool = False) -> dict[str, str]:
        """Environment of a run that is killed once this shell command succeeds on the server.

        Between two tasks, or at any time: then what a module does on the server goes on.
        """
        if during:
            condition = f"until ({condition}); do sleep 0.05; done"
        command = shlex.join(["docker", "exec", f"pyweb-{self.name}", "sh", "-c", condition])
        return {**CALLBACKS, "CUT_DURING" if during else "CUT_WHEN": command}

    def cut_while_building(self, name: str = "hello") -> dict[str, str]:
        """Environment of a run that is killed, and its module too, while it builds packages: the build goes on."""
        start = f"(.*/)?systemctl start {name}-build[.]service"
        wait = f"until pid=$(pgrep -fx '{start}'); do sleep 0.01; done; kill -9 $(ps -o ppid= -p $pid)"
        command = ["docker", "exec", f"pyweb-{self.name}", "timeout", "300", "sh", "-c", wait]
        return {**CALLBACKS, "CUT_DURING": shlex.join(command)}

    def get(self, path: str = "/", port: int = 8000) -> str:
        """Body of an answer over HTTP."""
        connection = http.client.HTTPConnection(self.address, port, timeout=10)
        connection.request("GET", path)
        return connection.getresponse().read().decode()

    def state(self) -> str:
        """What a play may change, a line each: files with mode, owner and content, units, users, packages."""
        places = "/etc /opt /var/lib/pyweb.deploy /var/lib/gunicorn /var/log/gunicorn /run/gunicorn /usr/local"
        return self.run(
            f"find {places} ! -path '/etc/resolv.conf' -printf 'path %p %y %m %u %g %s %l\\n' 2>/dev/null | sort;"
            f"find {places} -type f ! -path '*/venvs/*' 2>/dev/null | sort | xargs -d '\\n' sha256sum;"
            "dpkg-query --show --showformat 'package ${Package} ${Version}\\n'; getent passwd | sed 's/^/user /';"
            # A socket is `listening` or `running` by who came first, a connection or the service: both are up.
            "systemctl list-units --all --plain --no-legend 'hello*' | sort | sed -E 's/  +/ /g;"
            " s/^([^ ]+[.]socket .* active) (listening|running) /\\1 up /; s/^/unit /'"
        )


KILL_MODULE = """
    for each in /proc/[0-9]*; do
        if ls -l $each/fd 2>/dev/null | grep -q '/run/pyweb.deploy/.*[.]lock'; then kill -9 ${each#/proc/}; fi
    done
"""
"""Shell on a server that kills a module of the role which is at work, and not what it has started."""


@dataclass(frozen=True)
class Play:
    """Outcome of a run of ansible-playbook."""

    rc: int
    output: str
    seconds: float
    command: str

    @property
    def changed(self) -> int:
        """Changed tasks over all hosts."""
        return sum(map(int, re.findall(r"changed=(\d+)", self.output)))

    @property
    def executions(self) -> int:
        """What Ansible executed over SSH, for a run with ``-vvv``."""
        return self.output.count(" SSH: EXEC ")

    @property
    def said(self) -> str:
        """Output without its line breaks."""
        return " ".join(self.output.split())

    def __bool__(self) -> bool:
        return self.rc == 0


@dataclass
class Controller:
    """Somebody's machine with the repository checked out."""

    directory: Path
    ssh_config: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def play(
        self,
        server: Server | Sequence[Server],
        variables: dict[str, Any],
        *arguments: str,
        playbook: str = str(ROOT / "playbooks" / "site.yml"),
        environment: dict[str, str] | None = None,
    ) -> Play:
        """Run a playbook against one server, or several in this order, with these variables."""
        inventory = self.directory / f"inventory-{next(self.numbers)}.json"
        common = f"-F '{self.ssh_config}'"
        servers = [server] if isinstance(server, Server) else server
        hosts = {each.name: {"ansible_ssh_common_args": common} for each in servers}
        inventory.write_text(json.dumps({"gunicorn": {"hosts": hosts, "vars": variables}}))
        command = ["ansible-playbook", "-i", str(inventory), playbook, *arguments]
        started = time.monotonic()
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            cwd=self.directory,
            start_new_session=True,
            env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1", **(environment or {})},
        )
        seconds = time.monotonic() - started
        return Play(done.returncode, done.stdout + done.stderr, seconds, " ".join(command))


def fresh_server(name: str, release: str, bare: bool = False) -> Iterator[Server]:
    """Start a server that nothing was deployed to; remove it afterwards. Each of pytest's workers has its own.

    It has the Debian packages that the role installs, and a cache of wheels, unless it is to be bare.
    """
    name = f"{name}-{WORKER}".strip("-")
    rig("down", name)
    rig("up", name, release if bare else f"{release}-ready")
    try:
        yield Server(name, rig("address", name))
    finally:
        rig("down", name)
