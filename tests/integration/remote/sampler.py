"""Writes down every command line and every environment that processes have, and who may read netrc files. As root.

usage: sampler.py OUTPUT
"""

from __future__ import annotations

import glob
import os
import stat
import sys
import time

seen: set[str] = set()
with open(sys.argv[1], "w", encoding="utf-8", errors="replace") as output:
    while True:
        found = set()
        for path in glob.iglob("/proc/[0-9]*/cmdline"):
            for each in (path, path.replace("cmdline", "environ")):
                try:
                    with open(each, encoding="utf-8", errors="replace") as file:
                        found.add(os.path.basename(each) + " " + file.read().replace("\0", " ").replace("\n", " "))
                except OSError:
                    continue
        for path in glob.iglob("/opt/*/build/netrc"):
            try:
                modes = [f"{stat.S_IMODE(info.st_mode):o} {info.st_uid}" for info in map(os.stat, (path, path[:-6]))]
            except OSError:
                continue
            found.add("netrc " + " ".join(modes))
        output.writelines(line + "\n" for line in sorted(found - seen))
        output.flush()
        seen |= found
        time.sleep(0.01)
