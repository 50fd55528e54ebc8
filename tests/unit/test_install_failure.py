"""What a user reads when pip or uv failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.pyweb.deploy.plugins.plugin_utils.install_failure import Asked, message, reason

SAMPLES = Path(__file__).parent / "samples"
FAILED = "shop-build.service failed: exit-code, status 1"


def failure(**changes: Any) -> dict[str, Any]:
    output = (SAMPLES / "pip/not_found").read_text()
    defaults = {"installer": "pip", "output": output, "reason": FAILED, "asked": "", "free": int(5.2 * 2**30)}
    return {**defaults, **changes}


def asked(**changes: Any) -> Asked:
    defaults = {"name": "shop", "installer": "pip", "wanted": ["gunicorn==27.0.1", "Flask==99"]}
    return Asked(**{**defaults, "python_version": "3.11.2", **changes})


def test_it_has_all_that_helps_and_the_cause_last() -> None:
    lines = message(asked(index_url="https://a.example/simple"), failure()).splitlines()
    assert lines[:6] == [
        ("gunicorn_requirements, gunicorn_packages, gunicorn_version, gunicorn_index_url: pip could not install"),
        "gunicorn==27.0.1, Flask==99",
        "from https://a.example/simple.",
        'They accept what is there for Python 3.11.2. Example: gunicorn_packages: ["Flask==3.1.3"].',
        "Nothing that runs was touched. Space left on the disk of /opt/shop: 5.2 GiB.",
        "pip said:",
    ]
    assert lines[-1] == "ERROR: No matching distribution found for Flask==99"


def test_where_it_was_looked_for() -> None:
    assert "\nfrom PyPI (or what pip on the host is set to).\n" in message(asked(), failure())
    more = message(asked(extra_index_urls=["https://b.example"]), failure())
    assert "gunicorn_extra_index_urls: pip could not" in more
    assert "\nfrom PyPI (or what pip on the host is set to) and https://b.example.\n" in more
    wheels = message(asked(wheelhouse="/home/me/wheels", index_url="https://a.example"), failure())
    assert "\nfrom /home/me/wheels.\n" in wheels
    assert "gunicorn_wheelhouse: pip could not" in wheels


def test_no_hash_no_password_and_no_more_than_a_dozen() -> None:
    wanted = ["a @ https://me:s3cret@a.example/a.whl --hash=sha256:ab", "--lock 1234", *map(str, range(20))]
    said = message(asked(wanted=wanted), failure())
    assert "\na @ https://a.example/a.whl, 0, 1, " in said
    assert " and more\n" in said
    assert "s3cret" not in said
    assert "--lock" not in said


def test_what_each_index_answered() -> None:
    answers = (SAMPLES / "pip/asked").read_text()
    lines = message(asked(), failure(asked=answers)).splitlines()
    assert lines[-1] == "http://127.0.0.1:8765/simple/zzpriv/: 401 Client Error: Unauthorized"


def test_the_installer_itself() -> None:
    said = message(asked(installer="uv", tool="uv-1.2.3"), failure())
    assert said.startswith("gunicorn_installer: pip could not install\nuv==1.2.3\nfrom PyPI ")
    assert "Example: gunicorn_installer: pip.\n" in said


def test_uv() -> None:
    said = message(asked(installer="uv"), failure(installer="uv", output="error: no"))
    assert said.endswith("uv said:\nerror: no")


def test_a_build_that_was_ended() -> None:
    said = message(asked(), failure(reason="it took longer than 30 minutes, and was ended", output=""))
    assert "\nit took longer than 30 minutes, and was ended.\npip said:" in said


def test_the_reason_in_one_line() -> None:
    assert reason(failure()) == "pip: No matching distribution found for Flask==99"
    ended = failure(reason="it took longer than 30 minutes, and was ended", output="Collecting x\nwarning: y")
    assert reason(ended) == "pip: it took longer than 30 minutes, and was ended"
    assert reason(failure(output="")) == f"pip: {FAILED}"


def test_a_package_is_the_source() -> None:
    assert "gunicorn_version, gunicorn_source: pip" in message(asked(package=True), failure())


def test_sizes() -> None:
    for size, text in ((5, "5 B"), (1536, "1.5 KiB"), (2**50, "1024.0 TiB")):
        assert f"/opt/shop: {text}." in message(asked(), failure(free=size))
