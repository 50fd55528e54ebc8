"""Changes of a site that works: nobody notices any of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from ansible_collections.pyweb.deploy.tests.rig import Play

from .measure import GUNICORN, NEWER_GUNICORN, PLAYBOOKS, WORKER_CLASSES, Site, in_full


@pytest.mark.parametrize("site", in_full(WORKER_CLASSES, WORKER_CLASSES[0], "asgi"), indirect=True)
def test_a_change_of_the_code(site: Site) -> None:
    old, site.mark = site.mark, "second"
    done = site.measure("code", site.deploy, accept={old, site.mark})
    assert done.play, done.output
    done.the_new_one_took_over()
    done.nobody_noticed()


def test_a_change_of_a_setting(site: Site) -> None:
    workers = site.variables["gunicorn_settings"].get("workers", 5) + 1
    site.variables["gunicorn_settings"] = {**site.variables["gunicorn_settings"], "workers": workers}
    done = site.measure("setting", site.deploy, accept={site.mark})
    assert done.play, done.output
    main = site.shell(f"systemctl show --property MainPID --value {site.name}.service")
    assert len(site.shell(f"cat /proc/{main}/task/{main}/children").split()) == workers
    done.the_new_one_took_over()
    done.nobody_noticed()


def test_one_more_requirement(site: Site) -> None:
    (site.directory / "requirements.txt").write_text("iniconfig==2.1.0\n")
    done = site.measure("requirement", site.deploy, accept={site.mark})
    assert done.play, done.output
    assert site.shell("current/venv/bin/python -c 'import iniconfig; print(iniconfig.__name__)'") == "iniconfig"
    done.the_new_one_took_over()
    done.nobody_noticed()


@pytest.mark.full
def test_a_change_of_the_environment(site: Site) -> None:
    site.variables["gunicorn_environment"] = {**site.variables["gunicorn_environment"], "GREETING": "Hello, World!"}
    done = site.measure("environment", site.deploy, accept={site.mark})
    assert done.play, done.output
    main = site.shell(f"systemctl show --property MainPID --value {site.name}.service")
    assert "GREETING=Hello, World!" in site.shell(f"tr '\\0' '\\n' < /proc/{main}/environ").splitlines()
    done.the_new_one_took_over()
    done.nobody_noticed()


@pytest.mark.full
def test_another_gunicorn(site: Site, newer_gunicorn: Path) -> None:
    assert site.shell("current/venv/bin/gunicorn --version") == f"gunicorn (version {GUNICORN})"
    done = site.measure(
        "Gunicorn",
        lambda: site.deploy(playbook=newer_gunicorn, gunicorn_version=NEWER_GUNICORN),
        accept={site.mark},
    )
    assert done.play, done.output
    assert site.shell("current/venv/bin/gunicorn --version") == f"gunicorn (version {NEWER_GUNICORN})"
    done.the_new_one_took_over()
    done.nobody_noticed()


@pytest.mark.full
def test_going_back(site: Site) -> None:
    previous = site.shell("basename $(readlink previous)")
    done = site.measure("rollback", lambda: site.deploy(playbook=PLAYBOOKS / "rollback.yml"), accept={site.mark})
    assert done.play, done.output
    assert done.after == f"{site.mark} {previous}"
    assert site.shell("current/venv/bin/gunicorn --version") == f"gunicorn (version {GUNICORN})"
    done.the_new_one_took_over()
    done.nobody_noticed()
    again = site.deploy()
    assert again, again.output
    assert again.changed == 0, "what was deployed before is what serves now"


@pytest.mark.full
def test_ten_deploys_in_a_row(site: Site) -> None:
    marks = [f"deploy-{number}" for number in range(10)]

    def deploy(mark: str) -> Play:
        site.mark = mark
        return site.deploy()

    done = site.measure("ten deploys", *[partial(deploy, mark) for mark in marks], accept={site.mark, *marks})
    assert all(done.plays), done.output
    assert done.after.startswith(marks[-1])
    done.nobody_noticed()
    for counts in done.counts.values():
        answers = sorted(counts.answers.items(), key=lambda answer: answer[1].first)
        assert [text.split()[0] for text, _seen in answers] == [done.before.split()[0], *marks]
