"""The same job as handwritten/site.yml, with pyinfra's own operations."""

from __future__ import annotations

from pyinfra import host
from pyinfra.operations import apt, files, pip, server, systemd
from pyinfra.operations.util import any_changed

data = host.data
home = f"/srv/{data.app_name}"

apt.packages(
    name="Install Debian packages",
    packages=["python3-venv", "ufw"],
    update=True,
    cache_time=3600,
    no_recommends=True,
)
server.user(
    name="Create the user of the application",
    user=data.app_name,
    system=True,
    shell="/usr/sbin/nologin",
    home=home,
    ensure_home=False,
)
files.directory(name="Create its directory", path=home, user="root", group="root", mode="755")
code = files.sync(
    name="Copy the code",
    src=data.app_source,
    dest=f"{home}/code",
    user="root",
    group="root",
    mode="644",
    dir_mode="755",
    add_deploy_dir=False,
)
venv = pip.venv(name="Create the venv", path=f"{home}/venv", python="python3")
packages = pip.packages(
    name="Install the requirements and Gunicorn",
    packages=[f"gunicorn=={data.gunicorn_release}"],
    requirements=f"{home}/code/requirements.txt",
    virtualenv=f"{home}/venv",
)
written = [
    files.template(
        name=f"Write {dest}",
        src=f"{data.templates}/{template}",
        dest=dest,
        user="root",
        group="root",
        mode="644",
        app_home=home,
        **{key: data.get(key) for key in ("app_name", "app_port", "app_workers", "app_threads", "app_colour")},
    )
    for template, dest in (
        ("gunicorn.conf.py.j2", f"{home}/gunicorn.conf.py"),
        ("environment.j2", f"{home}/environment"),
        ("app.service.j2", f"/etc/systemd/system/{data.app_name}.service"),
    )
]
systemd.service(name="Start the application", service=data.app_name, running=True, enabled=True, daemon_reload=True)
systemd.service(
    name="Restart it where something changed",
    service=data.app_name,
    restarted=True,
    daemon_reload=True,
    _if=any_changed(code, packages, *written),
)
server.shell(
    name="Open the firewall",
    commands=["ufw allow OpenSSH", f"ufw allow {data.app_port}/tcp", "ufw --force enable"],
)
ask = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{data.app_port}/healthz')"
server.shell(
    name="Wait until it answers",
    commands=[f'for turn in $(seq 20); do python3 -c "{ask}" 2>/dev/null && exit 0; sleep 1; done; exit 1'],
)
