"""Changes of a site that works: nobody notices any of them."""

from __future__ import annotations

from .measure import Site


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
