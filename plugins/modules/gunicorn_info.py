#!/usr/bin/python
# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Look once at everything that the role pyweb.deploy.gunicorn may change on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gunicorn_info
short_description: Look at what the role gunicorn put on a host and at what runs there
version_added: "0.1.0"
description:
  - Reads, in one go, everything that the role P(pyweb.deploy.gunicorn#role) compares with what is wanted.
  - Changes nothing.
author:
  - The pyweb.deploy authors (@pyweb)
options:
  name:
    description: Name of the application, C(gunicorn_name) of the role.
    type: str
    required: true
  user:
    description: User that runs the application.
    type: str
    required: true
  python:
    description: Interpreter to look for, a command on the search path or an absolute path.
    type: str
    default: python3
  packages:
    description: Debian packages to look for.
    type: list
    elements: str
    default: []
  needed:
    description: Files of the host that the application can't start without.
    type: list
    elements: str
    default: []
  service_options:
    description: Directives for the service's unit, to ask the host's systemd whether it understands them.
    type: dict
    default: {}
  source:
    description: An application that is on the host already, to look into it.
    type: dict
    suboptions:
      path:
        description: Its directory.
        type: path
        required: true
      exclude:
        description: Shell patterns of what doesn't count; one with a C(/) is compared with the whole relative path.
        type: list
        elements: str
        default: []
      requirements:
        description: Path of a requirements file inside the directory, or a list of such paths.
        type: raw
        default: requirements.txt
      module:
        description: Dotted name of what Gunicorn imports.
        type: str
        required: true
      marker:
        description: File inside the directory whose content alone tells whether the code changed.
        type: str
        default: ''
      conf_file:
        description: Configuration file of Gunicorn inside the directory; empty for the one that Gunicorn would read.
        type: str
        default: ''
  runtime_status:
    description:
      - Whether to look at what runs of each application that the role put on the host, and to ask it its health check
        once.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: The module only reads.
  diff_mode:
    support: none
    description: The module only reads.
notes:
  - Needs root, since it reads files and processes of other users. Set C(become=true).
"""

EXAMPLES = r"""
- name: Look at the application shop
  pyweb.deploy.gunicorn_info:
    name: shop
    user: shop
  become: true
  register: result

- name: Tell which release serves
  ansible.builtin.debug:
    msg: "{{ result.gunicorn.slots[result.gunicorn.live].release }}"
  when: result.gunicorn.live != ''
"""

RETURN = r"""
gunicorn:
  description: What was found.
  returned: always
  type: dict
  contains:
    os:
      description: C(ID), C(VERSION_ID) and C(PRETTY_NAME) of C(/etc/os-release).
      type: dict
      sample: {ID: debian, VERSION_ID: "12", PRETTY_NAME: Debian GNU/Linux 12 (bookworm)}
    systemd:
      description: Whether systemd runs the host.
      type: bool
    python:
      description:
        - The interpreter, with the C(file) that its path leads to; empty where there is none. One that doesn't run has
          a C(problem) in place of a C(version). C(venv) says whether it has the modules C(venv) and C(ensurepip),
          C(system) whether it is the distribution's own, for which pip comes as a package.
      type: dict
      sample: {path: /usr/bin/python3, file: /usr/bin/python3.11, version: 3.11.2, venv: true, system: true}
    interpreters:
      description: Interpreters in the usual places, whatever their version.
      type: list
      elements: str
      sample: [/usr/bin/python3.11, /opt/python/bin/python3.13]
    packages:
      description: Those of the packages asked for that are installed.
      type: list
      elements: str
    user:
      description: The user's entry in the user database; empty where there is none.
      type: dict
      sample: {uid: 998, gid: 998, gecos: "Gunicorn application shop", home: /nonexistent, shell: /usr/sbin/nologin}
    build_user:
      description: Entry of the user who builds the Python packages; empty where there is none.
      type: dict
      sample: {uid: 997, gid: 997, gecos: Builds packages of shop (pyweb.deploy), shell: /usr/sbin/nologin}
    missing:
      description: Those of O(needed) that are no files.
      type: list
      elements: str
      sample: [/etc/letsencrypt/live/shop.example/privkey.pem]
    refused_options:
      description:
        - What systemd would ignore of O(service_options), in its own words, with the nearest name that it has.
      type: list
      elements: dict
      sample: [{directive: MemoryMx, value: 512M, problem: "Unknown key 'MemoryMx'", near: MemoryMax}]
    source:
      description: What O(source) holds; empty without it.
      type: dict
      sample: {digest: 9d1f0c2b7a66, requirements: [Flask==3.1.3], problem: ""}
    root:
      description: Whether C(/opt/NAME) is there.
      type: bool
    layout:
      description:
        - Number of the layout that C(/opt/NAME) has, as its file C(.pyweb.deploy) says.
        - V(1) where that says nothing, as the role's first versions left it, and V(0) where there is none.
      type: int
    missing_directories:
      description: Those of the directories in C(/opt/NAME) that are not there.
      type: list
      elements: str
      sample: [code]
    applications:
      description: Names of the role's other applications.
      type: list
      elements: str
      sample: [blog]
    installed_by_role:
      description: Debian packages that the role installed, as it wrote them down.
      type: list
      elements: str
      sample: [procps, python3-pip-whl, ufw]
    unrecorded_packages:
      description: Whether a run was cut off while Debian packages came, so that the list of them isn't written yet.
      type: bool
    shared:
      description: Directories that all applications of the role share, each with the names in it.
      type: dict
      sample: {/run/gunicorn: [blog-blue, shop-green], /var/lib/gunicorn: [blog, shop]}
    units:
      description: State of the public socket, of both slots and of the check, as C(systemctl show) tells it.
      type: dict
      sample: {shop.socket: {LoadState: loaded, ActiveState: active, SubState: running, Listen: ["0.0.0.0:8000"]}}
    live:
      description: The slot that the name of the service leads to, V(blue) or V(green); empty before the first deploy.
      type: str
      sample: blue
    slots:
      description: Each slot with its state and the release that its process runs.
      type: dict
      sample: {blue: {active: true, release: 3fa92c1b0d4e}, green: {active: false, release: ""}}
    releases:
      description:
        - Complete releases with what they consist of, when they were made, whether they have served, which health
          check they C(passed) last and whether they failed.
      type: dict
      sample:
        3fa92c1b0d4e: {code: 9d1f0c2b7a66, venv: 5b0c8de1f2a3, created: "2026-11-22T08:30:00Z", served: true}
    policy:
      description: What the last run wanted that is no part of a release; empty where none has ended.
      type: dict
      sample: {health: {path: /healthz}, firewall: {sources: [], interface: "", action: allow}, keep: 3}
    unfinished:
      description: Directories of releases, code and venvs that an interrupted run left behind, and what it left
        of a build.
      type: list
      elements: str
    code:
      description: Digests of the code that is there as a whole.
      type: list
      elements: str
    venvs:
      description: Complete virtual environments whose interpreter is there.
      type: list
      elements: str
    dead_venvs:
      description: Complete virtual environments whose interpreter is gone, each with its path.
      type: dict
      sample: {5b0c8de1f2a3: /opt/python/bin/python3.12}
    current:
      description: The release that was activated last.
      type: str
    previous:
      description: The release that served before it.
      type: str
    files:
      description: Managed files with digest, owner, group and mode.
      type: dict
      sample: {/etc/systemd/system/shop.socket: {sha256: 2c26b46b, owner: root, group: root, mode: "0644"}}
    encrypts:
      description: Whether systemd can encrypt credentials for this host (C(systemd-creds), systemd 250).
      type: bool
    secrets:
      description: Names of those secrets of each release whose files root alone may read; never what is in them.
      type: dict
      sample: {3fa92c1b0d4e: [DATABASE_PASSWORD]}
    unmanaged:
      description: Things of that name which the role did not make.
      type: list
      elements: str
    listening:
      description: Listening TCP sockets with the process that holds each, and whether systemd has it open too.
      type: list
      elements: dict
      sample: [{address: 0.0.0.0, port: 8000, process: gunicorn, unit: shop-blue.service, systemd: true}]
    listening_paths:
      description: Paths of listening Unix sockets.
      type: list
      elements: str
    other_apps:
      description: Other applications of the role whose public socket is enabled, each with its addresses.
      type: dict
      sample: {blog: ["127.0.0.1:8001"]}
    runtime_status:
      description:
        - Each application of the role on the host, where O(runtime_status) asks for them; what is not known is V(none).
        - C(state), C(sub_state) and C(result) are systemd's, of the slot that serves or served last. C(socket) is the
          state of the public socket. C(milliseconds) is how long the answer to the health check took.
        - C(memory) are the bytes that systemd counts for the service; where it doesn't, those of its
          processes.
      type: dict
      sample:
        shop:
          release: 3fa92c1b0d4e
          state: active
          sub_state: running
          result: success
          socket: active
          since: "2026-11-22T08:30:07Z"
          up: 86400
          gunicorn: 27.0.1
          python: 3.11.2
          workers: 3
          memory: 93323264
          health: {status: 200, problem: "", milliseconds: 3.1}
    last_run:
      description: Token of the run that changed the application last since the host started; empty for none.
      type: str
    at_work:
      description: Whether one of the role's modules is changing the application right now.
      type: bool
    ssh_ports:
      description: TCP ports that the SSH server listens on for other machines.
      type: list
      elements: int
    ssh_connection:
      description: Over which port of the host, and from where, this module came in; empty where that was not over SSH.
      type: dict
      sample: {client: 192.0.2.5, port: 22}
    ipv6:
      description: Whether the kernel speaks IPv6.
      type: bool
    interfaces:
      description: Names of the network interfaces.
      type: list
      elements: str
      sample: [eth0, lo]
    firewall:
      description:
        - Whether ufw is C(installed), C(enabled) and handles C(ipv6), and whether a run that turns it on has yet to
          find out whether SSH still works (C(on_trial)).
        - C(rules) are those for this application. C(unmanaged) are others about what comes in, but for those of the
          role's other applications.
        - C(others) names the services that run another firewall; C(docker) says whether Docker has its network up.
      type: dict
      sample:
        installed: true
        enabled: true
        on_trial: false
        ipv6: true
        rules: [{port: 8000, source: any, destination: any, interface: "", action: allow}]
        unmanaged:
          - {port: "22", source: any, destination: any, interface: "", action: limit, protocol: tcp, comment: ""}
        others: []
        docker: false
"""

import difflib
import glob
import grp
import hashlib
import importlib.util
import json
import os
import platform
import pwd
import re
import socket
import stat
import sys
import tempfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyweb.deploy.plugins.module_utils import build_unit, lock, source
from ansible_collections.pyweb.deploy.plugins.module_utils.layout import (
    BEFORE,
    COMPLETE,
    KINDS,
    MARK,
    OWNED,
    PACKAGES,
    SLOTS,
    TRIAL,
    is_free,
)
from ansible_collections.pyweb.deploy.plugins.module_utils.reading import read, read_json

ROOTS = "/opt"
UNIT_DIRECTORY = "/etc/systemd/system"
LOG_ROTATION = "/etc/logrotate.d/pyweb.deploy-"
OTHER_UNIT_DIRECTORIES = ("/run/systemd/system", "/usr/local/lib/systemd/system", "/lib/systemd/system")
PYTHON_DIRECTORIES = ("/usr/bin", "/usr/local/bin", "/opt/*/bin")
INSTALLED_BY_ROLE = PACKAGES
SHARED = ("/run/gunicorn", "/var/lib/gunicorn", "/var/log/gunicorn", os.path.dirname(INSTALLED_BY_ROLE))
LOCK_DIRECTORY = lock.DIRECTORY
ROOT = (0, 0)
HOST_KEY = "/var/lib/systemd/credential.secret"
SYSTEMD = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")
PROPERTIES = "LoadState,ActiveState,SubState,FragmentPath,MainPID,Listen"
STATUS_PROPERTIES = PROPERTIES + ",Result,ActiveEnterTimestampMonotonic,MemoryCurrent"
SSH_SOCKET = "ssh.socket"
OTHER_FIREWALLS = tuple(
    name + ".service" for name in ("firewalld", "nftables", "netfilter-persistent", "shorewall", "ferm")
)


def last_line(text: str) -> str:
    """Last line of a text that says something."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it says nothing")


def target(path: str) -> str:
    """Target of a symbolic link; empty where it is none."""
    try:
        return os.readlink(path)
    except OSError:
        return ""


def parse_assignments(text: str) -> dict[str, str]:
    """Parse ``KEY=value`` lines, as os-release and ``systemctl show`` write them. Quotes around a value go."""
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key: value.strip().strip("\"'") for key, value in pairs}


def parse_sockets(text: str, version: int) -> list[dict[str, Any]]:
    """Parse /proc/net/tcp (`version` 4) or tcp6 (6): the listening sockets with address, port and inode.

    Source: the kernel's Documentation/networking/proc_net_tcp.rst; 0A is TCP_LISTEN.
    """
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] != "0A":
            continue
        host, port = fields[1].split(":")
        raw = bytes.fromhex(host)
        # Each 32-bit word is in the byte order of the host: little-endian wherever Debian and Ubuntu run servers.
        ordered = b"".join(raw[start : start + 4][::-1] for start in range(0, len(raw), 4))
        address = socket.inet_ntop(socket.AF_INET if version == 4 else socket.AF_INET6, ordered)
        found.append({"address": address, "port": int(port, 16), "inode": fields[9]})
    return found


def parse_unix_sockets(text: str) -> list[str]:
    """Parse /proc/net/unix: the paths that somebody listens on.

    Source: unix_seq_show in the kernel's net/unix/af_unix.c; flag 00010000 is __SO_ACCEPTCON.
    """
    lines = [line.split(None, 7) for line in text.splitlines()[1:]]
    return sorted({fields[7] for fields in lines if len(fields) == 8 and fields[3] == "00010000"})


def parse_rules(text: str) -> list[dict[str, Any]]:
    """Parse the tuples of ufw's user.rules or user6.rules that are about what comes in from any port.

    ufw writes ``### tuple ### allow tcp 8000 0.0.0.0/0 any 0.0.0.0/0 in_eth0 comment=686578``: action, protocol,
    destination port, destination, source port, source, two names where the rule comes from a profile, direction with
    interface. Source: ``_write_rules`` in ufw's backend_iptables.py.
    """
    pattern = (
        r"### tuple ### (?P<action>allow|limit|deny|reject)(?:_log(?:-all)?)? (?P<protocol>\S+) (?P<port>\S+) "
        r"(?P<destination>\S+) any (?P<source>\S+)(?: \S+ \S+)? in(?:_(?P<interface>\S+))?"
        r"(?: comment=(?P<comment>[0-9a-f]+))?\s*"
    )
    rules = []
    for match in filter(None, (re.fullmatch(pattern, line) for line in text.splitlines())):
        rule = {key: value or "" for key, value in match.groupdict().items()}
        for end in ("source", "destination"):
            rule[end] = "any" if rule[end] in ("0.0.0.0/0", "::/0") else rule[end]
        rules.append({**rule, "comment": bytes.fromhex(rule["comment"]).decode("utf-8", "replace")})
    return rules


def rules_of(rules: list[dict[str, Any]], comment: str) -> list[dict[str, Any]]:
    """Those of the rules that let TCP in at one port and carry a comment."""
    keys = ("source", "destination", "interface", "action")
    return [
        {"port": int(rule["port"]), **{key: rule[key] for key in keys}}
        for rule in rules
        if rule["comment"] == comment
        and (rule["protocol"] == "tcp" and rule["port"].isdigit() and rule["action"] in ("allow", "limit"))
    ]


def option_lines(options: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and value of each line that the unit gets from a dictionary of directives, as its template writes them."""
    return [
        (name, ("yes" if single else "no") if isinstance(single, bool) else str(single))
        for name, value in options.items()
        for single in (value if isinstance(value, list) else [value])
    ]


def parse_verification(text: str, path: str, lines: list[tuple[str, str]], first: int) -> list[dict[str, str]]:
    """Parse what ``systemd-analyze verify`` says of a unit file: which of these lines, from `first` on, don't count.

    It writes ``PATH:LINE: REASON, ignoring: DETAIL``. What it says without the word, of obsolete names for example,
    is advice.
    """
    found = []
    for line in text.splitlines():
        match = re.match(re.escape(path) + r":(\d+): (.*)", line)
        if match and "ignoring" in match.group(2) and int(match.group(1)) >= first:
            name, value = lines[int(match.group(1)) - first]
            problem = re.sub(r",? ignoring( assignment)?(: .*)?\.?$", "", match.group(2)).rstrip(".")
            found.append({"directive": name, "value": value, "problem": problem, "near": ""})
    return found


def merge_rules(rules: list[dict[str, Any]], rules6: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join the rules of both families: ufw writes a rule from any to any into each of them."""
    return rules + [rule for rule in rules6 if rule not in rules]


class Host:
    """The host, as far as one application is concerned."""

    def __init__(self, module: AnsibleModule, name: str = "") -> None:
        self.module = module
        self.name = name or module.params["name"]
        self.root = os.path.join(ROOTS, self.name)
        self.units = [self.name + ".socket"] + [
            f"{self.name}-{unit}.{kind}" for unit in (*SLOTS, "check") for kind in ("service", "socket")
        ]

    def run(self, *command: str) -> str:
        """Output of a command that only reads; empty where it is missing or fails."""
        path = self.module.get_bin_path(command[0])
        if not path:
            return ""
        rc, out, _err = self.module.run_command([path, *command[1:]])
        return out if rc == 0 else ""

    def observe(self) -> dict[str, Any]:
        """Everything, as RETURN describes it."""
        states = self.unit_states(SSH_SOCKET, *OTHER_FIREWALLS)
        units = {unit: states[unit] for unit in self.own_units()}
        others = {unit: states[unit] for unit in (SSH_SOCKET, *OTHER_FIREWALLS)}
        releases, unfinished = self.releases()
        code, unfinished_code = self.finished("code")
        venvs, unfinished_venvs = self.finished("venvs")
        dead_venvs = self.dead_venvs(venvs)
        listening = self.listening()
        return {
            "os": self.os_release(),
            "systemd": os.path.isdir("/run/systemd/system"),
            "python": self.python(),
            "interpreters": self.interpreters(),
            "packages": self.packages(),
            "user": self.user(self.module.params["user"]),
            "build_user": self.user(build_unit.user_name(self.name)),
            "missing": [path for path in self.module.params["needed"] if not os.path.isfile(path)],
            "refused_options": self.refused_options(),
            "source": self.source(),
            "root": os.path.isdir(self.root),
            "layout": self.layout(),
            "missing_directories": [name for name in KINDS if not os.path.isdir(os.path.join(self.root, name))],
            "applications": [name for name in self.applications() if name != self.name],
            "installed_by_role": read(INSTALLED_BY_ROLE).split(),
            "unrecorded_packages": os.path.exists(INSTALLED_BY_ROLE + BEFORE),
            "shared": {path: sorted(os.listdir(path)) for path in SHARED if os.path.isdir(path)},
            "units": units,
            "live": self.live(),
            "slots": {slot: self.slot(units[f"{self.name}-{slot}.service"]) for slot in SLOTS},
            "releases": releases,
            "policy": self.policy(),
            "unfinished": unfinished + unfinished_code + unfinished_venvs + self.build_remains(),
            "code": code,
            "venvs": [name for name in venvs if name not in dead_venvs],
            "dead_venvs": dead_venvs,
            "current": self.link("current"),
            "previous": self.link("previous"),
            "files": self.files(releases),
            "encrypts": self.encrypts(),
            "secrets": {release: self.secrets(release) for release in releases},
            "unmanaged": self.unmanaged(),
            "listening": listening,
            "listening_paths": parse_unix_sockets(read("/proc/net/unix")),
            "other_apps": self.other_apps(),
            "runtime_status": self.runtime_statuses() if self.module.params["runtime_status"] else {},
            "last_run": self.last_run(),
            "at_work": lock.is_held(self.name),
            "ssh_ports": self.ssh_ports(listening, others[SSH_SOCKET]),
            "ssh_connection": self.ssh_connection(),
            "ipv6": os.path.exists("/proc/net/if_inet6"),
            "interfaces": sorted(os.listdir("/sys/class/net")) if os.path.isdir("/sys/class/net") else [],
            "firewall": self.firewall(others),
        }

    @staticmethod
    def os_release() -> dict[str, Any]:
        found = parse_assignments(read("/etc/os-release"))
        return {key: found.get(key, "") for key in ("ID", "VERSION_ID", "PRETTY_NAME")}

    def python(self) -> dict[str, Any]:
        given = self.module.get_bin_path(self.module.params["python"])
        if not given:
            return {}
        # A venv leads to the interpreter by the name that it was made with, not to the file behind that.
        path = os.path.join(os.path.realpath(os.path.dirname(given)), os.path.basename(given))
        file = os.path.realpath(path)
        system = file == os.path.realpath(build_unit.SYSTEM_PYTHON) and file.startswith("/usr/bin/")
        found = {"path": path, "file": file, "system": system}
        if found["file"] == os.path.realpath(sys.executable):
            venv = bool(importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"))
            return {**found, "version": platform.python_version(), "venv": venv}
        script = (
            "import importlib.util as u, json, platform; print(json.dumps({'version': platform.python_version(),"
            "'venv': bool(u.find_spec('venv') and u.find_spec('ensurepip'))}))"
        )
        rc, out, err = self.module.run_command([path, "-I", "-c", script])
        try:
            return {**found, **(json.loads(out) if rc == 0 else {"problem": last_line(err or out)})}
        except (TypeError, ValueError):
            return {**found, "problem": "it is another program"}

    @staticmethod
    def interpreters() -> list[str]:
        """Interpreters in the usual places, by the name that tells the version where one does."""
        found = set()
        for directory in [*os.environ.get("PATH", "").split(":"), *PYTHON_DIRECTORIES]:
            for path in glob.iglob(os.path.join(directory, "python3*")):
                final = os.path.realpath(path)
                name = final if re.match(r"python3\.\d+$", os.path.basename(final)) else path
                if re.match(r"python3(\.\d+)?$", os.path.basename(name)) and os.access(name, os.X_OK):
                    found.add(name)
        return sorted(found)

    def packages(self) -> list[str]:
        wanted = self.module.params["packages"]
        if not wanted or not self.module.get_bin_path("dpkg-query"):
            return []
        # dpkg-query fails as a whole where one package is unknown, but still prints the others.
        _rc, out, _err = self.module.run_command(
            ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *wanted]
        )
        return [line.split()[0] for line in out.splitlines() if line.endswith(" installed")]

    def build_remains(self) -> list[str]:
        """What an interrupted run left of a build: it is there only while packages are built."""
        paths = (os.path.join(self.root, "build"), build_unit.unit_path(self.name))
        return [path for path in paths if os.path.lexists(path)]

    @staticmethod
    def user(name: str) -> dict[str, Any]:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            return {}
        return {
            "uid": entry.pw_uid,
            "gid": entry.pw_gid,
            "group": grp.getgrgid(entry.pw_gid).gr_name,
            "gecos": entry.pw_gecos,
            "home": entry.pw_dir,
            "shell": entry.pw_shell,
        }

    def refused_options(self) -> list[dict[str, str]]:
        """What systemd wouldn't understand of the directives: it would only log that, and run without them."""
        lines = option_lines(self.module.params["service_options"])
        analyze = self.module.get_bin_path("systemd-analyze") if lines else None
        if not analyze:
            return []
        head = ["[Service]", "ExecStart=/bin/true"]
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "options.service")
            with open(path, "w", encoding="utf-8") as file:
                file.write("\n".join([*head, *(f"{name}={value}" for name, value in lines), ""]))
            _rc, _out, err = self.module.run_command([analyze, "verify", "--man=no", path])
        found = parse_verification(err, path, lines, len(head) + 1)
        unknown = [item for item in found if item["problem"].startswith("Unknown key")]
        known = self.directives() if unknown else []
        for item in unknown:
            item["near"] = next(iter(difflib.get_close_matches(item["directive"], known, n=1)), "")
        return found

    def directives(self) -> list[str]:
        """Names of what systemd understands in the section [Service] of a unit."""
        path = next((path for path in SYSTEMD if os.path.exists(path)), "systemd")
        _rc, out, _err = self.module.run_command([path, "--dump-configuration-items"])
        section = re.search(r"^\[Service\]\n(.*?)(?=^\[|\Z)", out, re.MULTILINE | re.DOTALL)
        return re.findall(r"^(\w+)=", section.group(1), re.MULTILINE) if section else []

    def source(self) -> dict[str, Any]:
        wanted = self.module.params["source"]
        if not wanted:
            return {}
        return source.look(
            wanted["path"],
            wanted["exclude"],
            wanted["requirements"],
            wanted["module"],
            wanted["marker"],
            wanted["conf_file"],
        )

    def own_units(self) -> list[str]:
        """The public socket, the slots and the check."""
        return [self.name + ".socket", *(f"{self.name}-{slot}.service" for slot in (*SLOTS, "check"))]

    def unit_states(self, *others: str, properties: str = PROPERTIES) -> dict[str, dict[str, Any]]:
        """State of the application's units and of others. ``Listen`` holds the addresses of a socket."""
        # An application may bear the name of one of the others, where the host doesn't have that.
        units = list(dict.fromkeys([*self.own_units(), *others]))
        blocks = self.run("systemctl", "show", "--property", properties, *units).split("\n\n")
        # Without systemd there are no blocks.
        unknown = {"LoadState": "not-found", "ActiveState": "inactive", "SubState": "dead", "Listen": []}
        states: dict[str, dict[str, Any]] = {unit: dict(unknown) for unit in units}
        for unit, block in zip(units, blocks):
            states[unit].update(parse_assignments(block))
            states[unit]["Listen"] = re.findall(r"^Listen=(.+) \(Stream\)$", block, re.MULTILINE)
        return states

    def slot(self, state: dict[str, Any]) -> dict[str, Any]:
        """State of a slot and the release of its process, or of its unit file where no process tells."""
        pid = state.get("MainPID", "0")
        active = state.get("ActiveState") in ("active", "reloading")
        texts = []
        if pid != "0":
            texts.append(read(f"/proc/{pid}/environ").replace("\0", "\n"))
        texts.append(read(state.get("FragmentPath", "")))
        for text in texts:
            match = re.search(r"^(?:Environment=)?GUNICORN_RELEASE=([0-9a-f]+)$", text, re.MULTILINE)
            if match:
                return {"active": active, "state": state.get("ActiveState"), "release": match.group(1)}
        return {"active": active, "state": state.get("ActiveState"), "release": ""}

    def live(self) -> str:
        unit = os.path.basename(target(os.path.join(UNIT_DIRECTORY, self.name + ".service")))
        match = re.match(re.escape(self.name) + r"-(blue|green)\.service$", unit)
        return match.group(1) if match else ""

    def link(self, name: str) -> str:
        return os.path.basename(target(os.path.join(self.root, name)))

    def children(self, kind: str) -> list[str]:
        try:
            return sorted(os.listdir(os.path.join(self.root, kind)))
        except OSError:
            return []

    def releases(self) -> tuple[dict[str, Any], list[str]]:
        complete, unfinished = {}, []
        for name in self.children("releases"):
            path = os.path.join(self.root, "releases", name)
            record, passed = (read_json(os.path.join(path, file)) for file in ("release.json", "served"))
            failed = os.path.exists(os.path.join(path, "failed"))
            if record:
                complete[name] = {**record, "served": bool(passed), "passed": passed, "failed": failed}
            else:
                unfinished.append(path)
        return complete, unfinished

    def policy(self) -> dict[str, Any]:
        """What the last run wanted that is no part of a release."""
        return read_json(os.path.join(self.root, "policy.json"))

    def finished(self, kind: str) -> tuple[list[str], list[str]]:
        complete, unfinished = [], []
        for name in self.children(kind):
            path = os.path.join(self.root, kind, name)
            if os.path.exists(os.path.join(path, COMPLETE)):
                complete.append(name)
            else:
                unfinished.append(path)
        return complete, unfinished

    def dead_venvs(self, venvs: list[str]) -> dict[str, str]:
        paths = {name: os.path.join(self.root, "venvs", name, "bin", "python") for name in venvs}
        return {name: os.path.realpath(path) for name, path in paths.items() if not os.path.exists(path)}

    @staticmethod
    def applications() -> list[str]:
        """Names of all applications that the role put on the host."""
        marks = glob.glob(os.path.join(ROOTS, "*", OWNED))
        return sorted(os.path.basename(os.path.dirname(mark)) for mark in marks)

    def other_apps(self) -> dict[str, list[str]]:
        """Addresses of the role's other applications. One that is disabled has none: it doesn't come back by itself."""
        found = {}
        for path in sorted(glob.glob(os.path.join(UNIT_DIRECTORY, "sockets.target.wants", "*.socket"))):
            name, text = os.path.basename(path)[: -len(".socket")], read(path)
            if name != self.name and MARK in text[:200]:
                found[name] = re.findall(r"^ListenStream=(.+)$", text, re.MULTILINE)
        return found

    def files(self, releases: dict[str, Any]) -> dict[str, Any]:
        paths = [os.path.join(UNIT_DIRECTORY, unit) for unit in self.units]
        paths += [os.path.join(self.root, "check_config.py"), LOG_ROTATION + self.name]
        for release in releases:
            paths += sorted(glob.glob(os.path.join(self.root, "releases", release, "*")))
        return {path: self.file(path) for path in paths if os.path.isfile(path) and not os.path.islink(path)}

    @staticmethod
    def file(path: str) -> dict[str, Any]:
        info = os.stat(path)
        with open(path, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        try:
            owner, group = pwd.getpwuid(info.st_uid).pw_name, grp.getgrgid(info.st_gid).gr_name
        except KeyError:
            owner, group = str(info.st_uid), str(info.st_gid)
        return {"sha256": digest, "owner": owner, "group": group, "mode": f"{stat.S_IMODE(info.st_mode):04o}"}

    def encrypts(self) -> bool:
        # systemd-creds makes the key of the host where there is none yet.
        key = os.path.exists(HOST_KEY) or os.access(os.path.dirname(HOST_KEY), os.W_OK)
        return key and bool(self.module.get_bin_path("systemd-creds"))

    def secrets(self, release: str) -> list[str]:
        directory = os.path.join(self.root, "releases", release, "secrets")
        if not self.is_roots(directory, stat.S_IFDIR | 0o700):
            return []
        names = sorted(os.listdir(directory))
        return [name for name in names if self.is_roots(os.path.join(directory, name), stat.S_IFREG | 0o600)]

    @staticmethod
    def is_roots(path: str, mode: int) -> bool:
        try:
            info = os.lstat(path)
        except OSError:
            return False
        return (info.st_uid, info.st_gid, info.st_mode) == (*ROOT, mode)

    def unmanaged(self) -> list[str]:
        """Units, directories and user entries of that name that somebody else made."""
        found = []
        alias = self.name + ".service"
        for directory in (UNIT_DIRECTORY, *OTHER_UNIT_DIRECTORIES):
            for unit in (alias, *self.units, build_unit.unit_name(self.name)):
                path = os.path.join(directory, unit)
                if os.path.lexists(path) and not (unit == alias and self.live()) and MARK not in read(path)[:200]:
                    found.append(path)
        free = os.path.isdir(self.root) and is_free(os.listdir(self.root))
        if os.path.lexists(self.root) and not free and not self.layout():
            found.append(self.root)
        return found

    def layout(self) -> int:
        mark = os.path.join(self.root, OWNED)
        match = re.search(r"^layout: (\d+)$", read(mark), re.MULTILINE)
        return int(match.group(1)) if match else 1 if os.path.exists(mark) else 0

    def listening(self) -> list[dict[str, Any]]:
        sockets = parse_sockets(read("/proc/net/tcp"), 4) + parse_sockets(read("/proc/net/tcp6"), 6)
        holders = self.holders({item["inode"] for item in sockets})
        nobody = {"process": "", "unit": "", "systemd": False}
        return [
            dict(holders.get(item["inode"], nobody), address=item["address"], port=item["port"]) for item in sockets
        ]

    @staticmethod
    def ssh_ports(listening: list[dict[str, Any]], ssh_socket: dict[str, Any]) -> list[int]:
        """Ports of the SSH server, which may have left them to systemd (Ubuntu's ssh.socket).

        What it listens on for the machine itself is forwarded to a client (``ssh -R``, X11), or needs no rule.
        """
        loopback = ("127.", "::1")
        ports = {
            item["port"] for item in listening if item["process"] == "sshd" and not item["address"].startswith(loopback)
        }
        if ssh_socket["ActiveState"] == "active":
            shown = (re.fullmatch(r"(?:(\S+):)?(\d+)", address) for address in ssh_socket["Listen"])
            ports.update(
                int(match[2]) for match in shown if match and not (match[1] or "").strip("[]").startswith(loopback)
            )
        return sorted(ports)

    @staticmethod
    def ssh_connection(pid: str = "self") -> dict[str, Any]:
        """Where the process came in that this one descends from; sudo keeps that from its children, not from root."""
        while pid not in ("", "0"):
            match = re.search(r"(?:^|\0)SSH_CONNECTION=(\S+) \d+ \S+ (\d+)(?:\0|$)", read(f"/proc/{pid}/environ"))
            if match:
                return {"client": match[1].split("%")[0], "port": int(match[2])}
            # The name of the program, which comes before, may hold anything.
            pid = [*read(f"/proc/{pid}/stat").rpartition(")")[2].split(), "", ""][1]
        return {}

    @staticmethod
    def holders(inodes: set[str]) -> dict[str, dict[str, Any]]:
        """Process and systemd unit that hold each socket; systemd itself counts only where nobody else has it open."""
        found: dict[str, dict[str, Any]] = {}
        for directory in glob.iglob("/proc/[0-9]*/fd"):
            process = os.path.dirname(directory)
            try:
                descriptors = os.listdir(directory)
            except OSError:
                continue
            # A busy process closes some of them meanwhile.
            links = [target(os.path.join(directory, descriptor)) for descriptor in descriptors]
            held = {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")} & inodes
            for inode in held:
                by_systemd = process == "/proc/1" or found.get(inode, {}).get("systemd", False)
                if inode not in found or found[inode]["process"] == "systemd":
                    unit = os.path.basename(read(process + "/cgroup").strip())
                    found[inode] = {"process": read(process + "/comm").strip(), "unit": unit}
                found[inode]["systemd"] = by_systemd
        return found

    def runtime_statuses(self) -> dict[str, Any]:
        """What somebody wants to know who asks whether all is well, of each application of the role."""
        return {name: Host(self.module, name).runtime_status() for name in self.applications()}

    def runtime_status(self) -> dict[str, Any]:
        # A deploy goes without HTTP and TLS.
        from ansible_collections.pyweb.deploy.plugins.module_utils import runtime_status

        units = self.unit_states(properties=STATUS_PROPERTIES)
        slots = {slot: self.slot(units[f"{self.name}-{slot}.service"]) for slot in SLOTS}
        running = [slot for slot in SLOTS if slots[slot]["active"]]
        live = self.live()
        slot = live if live in running or not running else running[0]
        unit = units[f"{self.name}-{slot or SLOTS[0]}.service"]
        release = slots[slot]["release"] if slot else ""
        record, policy = self.releases()[0].get(release), self.policy()
        found = {
            "release": release,
            "state": unit["ActiveState"],
            "sub_state": unit["SubState"],
            "result": unit.get("Result", ""),
            "socket": units[self.name + ".socket"]["ActiveState"],
            "gunicorn": (record or {}).get("gunicorn"),
            "python": (record or {}).get("python"),
            **dict.fromkeys(("since", "up", "workers", "memory", "health")),
        }
        # One that isn't active must not be asked: the request would start it.
        if slot in running:
            found.update(runtime_status.running_since(unit["ActiveEnterTimestampMonotonic"]))
            found.update(runtime_status.processes(unit["MainPID"]))
            if unit["MemoryCurrent"].isdigit():
                found["memory"] = int(unit["MemoryCurrent"])
            if record and policy:
                question = {**policy["health"], "tls": record["tls"]}
                found["health"] = runtime_status.health(f"/run/gunicorn/{self.name}-{slot}.sock", question)
        return found

    def last_run(self) -> str:
        return str(read_json(os.path.join(LOCK_DIRECTORY, self.name + ".lock")).get("run", ""))

    def firewall(self, others: dict[str, dict[str, Any]]) -> dict[str, Any]:
        ipv6 = parse_assignments(read("/etc/default/ufw")).get("IPV6", "yes").lower() == "yes"
        # Without IPv6, ufw neither heeds nor changes what is in the second file.
        rules = merge_rules(
            parse_rules(read("/etc/ufw/user.rules")), parse_rules(read("/etc/ufw/user6.rules")) if ipv6 else []
        )
        settings = parse_assignments(read("/etc/ufw/ufw.conf"))
        return {
            "installed": bool(self.module.get_bin_path("ufw", opt_dirs=["/usr/sbin", "/sbin"])),
            "enabled": settings.get("ENABLED", "").lower() == "yes",
            "on_trial": os.path.exists(TRIAL),
            "ipv6": ipv6,
            "rules": rules_of(rules, MARK + " " + self.name),
            "unmanaged": [rule for rule in rules if not rule["comment"].startswith(MARK + " ")],
            "others": [unit[: -len(".service")] for unit in OTHER_FIREWALLS if others[unit]["ActiveState"] == "active"],
            "docker": os.path.isdir("/sys/class/net/docker0"),
        }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "user": {"type": "str", "required": True},
            "python": {"type": "str", "default": "python3"},
            "packages": {"type": "list", "elements": "str", "default": []},
            "needed": {"type": "list", "elements": "str", "default": []},
            "service_options": {"type": "dict", "default": {}},
            "runtime_status": {"type": "bool", "default": False},
            "source": {
                "type": "dict",
                "options": {
                    "path": {"type": "path", "required": True},
                    "exclude": {"type": "list", "elements": "str", "default": []},
                    "requirements": {"type": "raw", "default": "requirements.txt"},
                    "module": {"type": "str", "required": True},
                    "marker": {"type": "str", "default": ""},
                    "conf_file": {"type": "str", "default": ""},
                },
            },
        },
        supports_check_mode=True,
    )
    if os.geteuid() != 0:
        module.fail_json(msg="gunicorn_info needs root to see other users' processes and files: set `become: true`")
    module.exit_json(changed=False, gunicorn=Host(module).observe())


if __name__ == "__main__":
    main()
