# Copyright (c) 2026 The pyweb.deploy authors
# MIT License (see LICENSE)
"""Check a release in private, and let it take over from the one that serves.

Each step looks at the host first and does only what is not done yet: a run that was killed anywhere in here is taken up
again by the next one.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

from ansible_collections.pyweb.deploy.plugins.module_utils import code_diff, symptoms
from ansible_collections.pyweb.deploy.plugins.module_utils.files import FOR_ALL, FOR_ROOT
from ansible_collections.pyweb.deploy.plugins.module_utils.health import Service, UnhealthyError
from ansible_collections.pyweb.deploy.plugins.module_utils.module_names import look
from ansible_collections.pyweb.deploy.plugins.module_utils.serving import Serving
from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import SystemdError

if TYPE_CHECKING:
    from typing import Callable

    from ansible_collections.pyweb.deploy.plugins.module_utils.files import Files
    from ansible_collections.pyweb.deploy.plugins.module_utils.layout import Layout
    from ansible_collections.pyweb.deploy.plugins.module_utils.steps import Steps
    from ansible_collections.pyweb.deploy.plugins.module_utils.systemd import Systemd


class Host:
    """Everything through which an application is changed, so that tests can put something else in its place."""

    def __init__(
        self, layout: Layout, systemd: Systemd, files: Files, steps: Steps, service: Callable[[str], Service]
    ) -> None:
        self.layout = layout
        self.systemd = systemd
        self.files = files
        self.steps = steps
        self.service = service
        """Gives the service of a slot or of the check."""

    def write(self, path: str, text: str, **how: Any) -> bool:
        """Write a file of root's that everybody may read, and tell whether it differed; `how` is for `Files.file`."""
        return self.files.file(path, text, FOR_ALL, **how)

    def serving(self, plan: dict[str, Any]) -> Serving:
        """Give the release that serves, for ``--diff``; where nobody asked for that, none is read."""
        return Serving(self.layout, plan["serving"] if self.files.shows else "", plan.get("names"))

    def refuse(self, release: str, serving: str, problem: Exception) -> UnhealthyError:
        """Say why a release takes no traffic and what serves instead; it is kept in its directory too."""
        name, serves = (
            self.layout.name,
            f"Release {serving} goes on serving." if serving else "Nothing served before.",
        )
        text = f"{name}: release {release} takes no traffic, because it failed its check.\n{serves}"
        if serving == release:
            text = f"{name}: release {release} failed its check. As it was started before, it goes on serving."
        text += "\n\n" + self.explain(release, problem)
        directory = self.layout.release(release)
        with contextlib.suppress(OSError):  # a full disk: what is wrong is printed all the same
            if os.path.isdir(directory):
                self.files.file(os.path.join(directory, "failed"), text + "\n", FOR_ROOT)
        return UnhealthyError(getattr(problem, "reason", str(problem).split("\n", 1)[0]), text)

    def explain(self, release: str, problem: Exception) -> str:
        """Say what is wrong with a release, and at the end which variables to set where that is known."""

        def callables(module: str) -> list[str]:
            try:
                found = look(os.path.join(self.layout.release(release), "code"), module)["module_names"]
            except OSError:
                return []
            return [f"{module}:{spelled}" for spelled in found.values() if spelled]

        hints = symptoms.hints(str(problem), self.layout.name, callables)
        return "\n".join([str(problem), "", *hints] if hints else [str(problem)])


def as_json(data: dict[str, Any]) -> str:
    """Write what the next run reads."""
    return json.dumps(data, indent=2, sort_keys=True) + "\n"


class Check:
    """Start a release alone, on a private socket, and ask it the health check.

    `plan` is the part of the role's plan that is about this; `modules/gunicorn_check.py` documents it.
    """

    def __init__(self, host: Host, plan: dict[str, Any]) -> None:
        self.host = host
        self.plan = plan
        self.serving = host.serving(plan)

    def run(self) -> dict[str, Any]:
        """Make room in the slot, write the units, check; give the health check that it passed.

        Raises `UnhealthyError`.
        """
        if self.plan["start"] or self.plan["misnamed_slot"]:
            self.make_room()
        if self.host.files.shows:
            self.compare()
        self.write()
        return self.ask() if self.plan["start"] else dict(self.plan["health"])

    def make_room(self) -> None:
        """Put right what an interrupted run left: the alias at a slot that doesn't serve, something in the slot."""
        host, layout = self.host, self.host.layout
        misnamed, slot = self.plan["misnamed_slot"], self.plan["slot"]
        if misnamed and layout.live() != misnamed:
            with host.steps.step(
                f"point the alias at the slot that serves, {misnamed}", f"{layout.name}.service"
            ) as real:
                if real:
                    host.systemd.enable(layout.slot(misnamed))
        if slot != misnamed and host.systemd.is_busy(layout.slot(slot)):
            with host.steps.step(f"stop what an interrupted run left in slot {slot}", layout.slot(slot)) as real:
                if real:
                    host.systemd.stop(layout.slot(slot))
        if not host.steps.check:
            host.service("check").wait_for_commands()

    def compare(self) -> None:
        """Show what differs from the release that serves, where no stage before this one had to write it."""
        layout, diff, names = self.host.layout, self.host.files.diff, self.plan["names"]
        serving = self.serving
        code = layout.code(names.get("code", ""))
        if "code" in self.plan["compare"] and serving.code not in ("", code):
            diff += code_diff.compare(serving.code, code, code_diff.of_directory(code))
        if "configuration" in self.plan["compare"]:
            diff += serving.compare_files(layout.release(names["id"]))

    def write(self) -> None:
        """Write the units and the other files."""
        layout = self.host.layout
        started = {layout.slot(slot): slot for slot in ("check", self.plan["slot"])} if self.plan["start"] else {}
        for name, text in self.plan["units"].items():
            before = self.serving.unit(started[name]) if name in started else None
            self.host.write(os.path.join(layout.units, name), text, before=before)
        for path, text in self.plan["files"].items():
            self.host.write(path, text)

    def ask(self) -> dict[str, Any]:
        """Start it, ask and stop it in any case. Where today's check is too new for it, ask what it passed last."""
        host, unit, release = self.host, self.host.layout.slot("check"), self.plan["release"]
        with host.steps.step(f"start release {release} in private and ask the health check", unit) as real:
            if not real:
                return dict(self.plan["health"])
            service = host.service("check")
            try:
                host.systemd.daemon_reload()
                host.systemd.restart(unit, wait=False)
                service.wait(self.plan["passed_health"])
            except (SystemdError, UnhealthyError) as problem:
                refusal = host.refuse(release, self.plan["serving"], problem)
                host.systemd.stop(unit)
                raise refusal from problem
            host.systemd.stop(unit, wait=False)
        return service.health


class Switch:
    """Let a release take over: start it beside the old one, watch it, move the alias, stop the old one.

    `plan` is the part of the role's plan that is about this; `modules/gunicorn_switch.py` documents it.
    """

    def __init__(self, host: Host, plan: dict[str, Any]) -> None:
        self.host = host
        self.plan = plan
        layout = host.layout
        self.new, self.other = layout.slot(plan["slot"]), layout.slot(plan["other_slot"])
        self.old = layout.slot(plan["old_slot"]) if plan["old_slot"] else ""
        self.socket = plan["socket"]
        # Going back, the check that it passed may not be today's.
        passed = {key: plan["health"][key] for key in plan["policy"]["health"] if key in plan["health"]}
        self.policy = {**plan["policy"], "health": {**plan["policy"]["health"], **passed}}
        self.pointed = self.stopped = False  # check mode takes no step, and must not tell one twice

    def run(self) -> None:
        """Switch, or only ask what serves a new health check and do the rest.

        Raises `UnhealthyError` when the old release serves as before, `SystemdError` where it may not.
        """
        if self.plan["switch"]:
            try:
                self.change_socket()
                self.start()
            except (SystemdError, UnhealthyError, OSError) as problem:
                with self.host.steps.step("put the old release back", self.old or self.new):
                    try:
                        self.put_back()
                    except (SystemdError, OSError) as second:
                        raise SystemdError(f"{problem}\nThe old release isn't back as it was: {second}") from second
                raise self.host.refuse(self.plan["release"], self.plan["serving"], problem) from problem
        elif self.plan["ask"]:
            self.ask()
        self.mark_served()
        self.point_alias()
        self.stop_other()
        self.record()
        self.prune()

    def change_socket(self) -> None:
        """Open the new addresses, which lead to the new slot then. The old one goes on with those that it has.

        What needs no new address (another backlog, an address is removed) takes effect after daemon-reload.
        """
        host, layout = self.host, self.host.layout
        written = host.write(os.path.join(layout.units, layout.socket), self.socket["text"])
        if not self.socket["restart"]:
            if written and not host.steps.check:
                host.systemd.daemon_reload()
            return
        self.point_alias()
        if self.socket["conflict"]:
            # First the socket, so that no request wakes the new slot early.
            with host.steps.step(
                "close the socket: the old slot holds one of the new addresses", layout.socket
            ) as real:
                if real:
                    host.systemd.stop(layout.socket)
            if self.old:
                self.stop_other()
                return  # the start of the new slot opens the socket
        with host.steps.step("open the new addresses", layout.socket) as real:
            if real:
                host.systemd.enable(layout.socket)
                host.systemd.restart(layout.socket)

    def start(self) -> None:
        """Start it beside the old one, wait until it is healthy there too, and watch it."""
        host, name, watch = self.host, self.plan["slot"], self.plan["watch"]
        with host.steps.step(f"start it in slot {name}, ask it and watch it for {watch} s", self.new) as real:
            if not real:
                return
            host.systemd.start(self.new, wait=False)
            service = host.service(name)
            _status, seconds = service.wait()
            if watch:
                service.watch(watch, self.plan["public"], seconds)

    def ask(self) -> None:
        """Ask what serves the health check, which is not the one that it passed before."""
        host, release, unit = self.host, self.plan["release"], self.new
        with host.steps.step(f"ask release {release}, which serves, the new health check", unit) as real:
            if not real:
                return
            try:
                host.service(self.plan["slot"]).wait()
            except UnhealthyError as problem:
                text = f"{host.layout.name}: release {release} fails the new health check, which isn't used then."
                text += " It goes on serving.\n\n" + host.explain(release, problem)
                raise UnhealthyError(problem.reason, text) from problem

    def put_back(self) -> None:
        """Let the old release serve as before; where there is none, nothing runs."""
        host, layout = self.host, self.host.layout
        if self.socket["previous"]:
            host.write(os.path.join(layout.units, layout.socket), self.socket["previous"])
        if self.old:
            host.systemd.enable(self.old)  # reads all units again
        else:
            host.systemd.daemon_reload()
        if self.socket["restart"]:
            host.systemd.stop(layout.socket)
            if not self.old:
                host.systemd.disable(layout.socket)
        host.systemd.stop(self.new)
        if self.plan["serving"]:
            host.systemd.start(self.old)  # and its socket with it

    def point_alias(self) -> None:
        """Point the service's name at the new slot: from now on systemd wakes this one, also after a reboot."""
        if self.pointed or self.host.layout.live() == self.plan["slot"]:
            return
        self.pointed = True
        with self.host.steps.step(
            f"point the alias at slot {self.plan['slot']}", f"{self.host.layout.name}.service"
        ) as real:
            if real:
                self.host.systemd.enable(self.new)

    def stop_other(self) -> None:
        """Stop the other slot once its requests are answered."""
        if self.stopped or not self.host.systemd.is_busy(self.other):
            return
        self.stopped = True
        with self.host.steps.step(f"drain and stop slot {self.plan['other_slot']}", self.other) as real:
            if real:
                self.host.systemd.stop(self.other)

    def mark_served(self) -> None:
        """Record which check it passed: it is one to go back to.

        A run that is killed before this begins the switch again.
        """
        mark = os.path.join(self.host.layout.release(self.plan["release"]), "served")
        self.host.write(mark, as_json(self.policy["health"]), hidden=True)

    def record(self) -> None:
        """Record what serves now and what served before, and by which policy."""
        layout, files, release = self.host.layout, self.host.files, self.plan["release"]
        self.host.write(layout.policy, as_json(self.policy))
        if self.plan["previous"]:
            files.link(os.path.join(layout.home, "previous"), f"releases/{self.plan['previous']}")
        files.link(os.path.join(layout.home, "current"), f"releases/{release}")
        files.remove(os.path.join(layout.release(release), "failed"))

    def prune(self) -> None:
        """Remove what nothing needs any more."""
        for path in self.plan["obsolete"]:
            self.host.files.remove(path)
