"""An application that was taken over, and an ordinary one: what the service's sandbox refuses, and what it lets be.

GET /attempts and /ordinary answer with a JSON object, name to outcome; /writable lists where the service could write.
As a program it makes the attempts as whoever starts it: the control, which shows that they can succeed elsewhere.
"""

from __future__ import annotations

import concurrent.futures
import ctypes
import errno
import fcntl
import glob
import hashlib
import importlib
import json
import locale
import logging
import mmap
import multiprocessing
import os
import platform
import pwd
import resource
import select
import shutil
import signal
import socket
import sqlite3
import ssl
import struct
import subprocess
import sys
import syslog
import tempfile
import threading
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
INTEL = platform.machine() == "x86_64"
NUMBERS = {
    # x86_64, aarch64; from the kernel's tables of system calls
    "add_key": (248, 217),
    "bpf": (321, 280),
    "init_module": (175, 105),
    "io_uring_setup": (425, 425),
    "kexec_load": (246, 104),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
}
OTHER = "neighbour"
"""Another application of the role on the same host; it runs as the user keeper."""


def own(kind: str) -> Path:
    """The role's directory of this application for what runs: code, venv or the release."""
    here = Path("/opt/hostile/current").resolve()
    return here / kind if kind else here


def checked(result: int) -> int:
    """Raise what a function of the C library failed with."""
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def call(name: str, *arguments: Any) -> int:
    """Make a system call that the C library has no function for."""
    return checked(LIBC.syscall(NUMBERS[name][0 if INTEL else 1], *arguments))


# What an attacker tries. Each returns where it got through, and raises an OSError where it didn't.


def read(*paths: str) -> Callable[[], Any]:
    return lambda: [Path(path).read_bytes() for path in paths]


def enter(path: str) -> Callable[[], Any]:
    return lambda: os.listdir(path)


def write(path: Callable[[], Path] | str) -> Callable[[], None]:
    """Append nothing to a file, or make one in a directory and remove it."""

    def attempt() -> None:
        place = path() if callable(path) else Path(path)
        if place.is_dir():
            (place / ".hostile").touch()
            (place / ".hostile").unlink()
        else:
            os.close(os.open(place, os.O_WRONLY | os.O_APPEND))

    return attempt


def connect(path: str) -> Callable[[], None]:
    def attempt() -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)

    return attempt


def open_socket(family: int, kind: int, protocol: int = 0) -> Callable[[], None]:
    return lambda: socket.socket(family, kind, protocol).close()


def other_processes() -> None:
    if all(os.stat(path).st_uid == os.getuid() for path in glob.glob("/proc/[0-9]*")) and os.getuid():
        raise PermissionError(errno.ENOENT, "no process of another user is to be seen")


def mount() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        checked(LIBC.mount(b"none", directory.encode(), b"tmpfs", 0, None))
        checked(LIBC.umount2(directory.encode(), 0))


def remount() -> None:
    """Make the code writable again."""
    code = str(own("code").resolve()).encode()
    checked(LIBC.mount(code, code, None, 4096, None))  # MS_BIND
    checked(LIBC.umount2(code, 0))


def trace() -> None:
    child = subprocess.Popen(["/bin/sleep", "9"])
    try:
        checked(LIBC.ptrace(16, child.pid, None, None))  # PTRACE_ATTACH
    finally:
        child.kill()
        child.wait()


def read_memory() -> None:
    """Read the memory of a child, at an address where it has none: the kernel refuses before, or doesn't find it."""

    class Part(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    here, there = Part(ctypes.addressof(ctypes.create_string_buffer(8)), 8), Part(8, 8)
    child = subprocess.Popen(["/bin/sleep", "9"])
    try:
        checked(LIBC.process_vm_readv(child.pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0))
    finally:
        child.kill()
        child.wait()


def set_clock() -> None:
    time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME))


def set_host_name() -> None:
    name = socket.gethostname().encode()
    checked(LIBC.sethostname(name, len(name)))


def become_root() -> None:
    os.setuid(0)


def run_set_uid_program() -> None:
    """The test puts a set-uid copy of id there."""
    found = subprocess.run(["/usr/local/bin/set-uid-id", "-u"], capture_output=True, text=True, check=True)
    if found.stdout.strip() != "0":
        raise PermissionError(errno.EPERM, f"it ran as {found.stdout.strip()}")


def make_set_uid_program() -> None:
    with tempfile.NamedTemporaryFile(dir=state()) as file:
        Path(file.name).chmod(0o4755)
        if not os.stat(file.name).st_mode & 0o4000:
            raise PermissionError(errno.EPERM, "the bit is gone")


def run_dropped_program(directory: Callable[[], str]) -> Callable[[], None]:
    def attempt() -> None:
        path = Path(directory(), "dropped")
        shutil.copy("/bin/true", path)
        try:
            subprocess.run([path], check=True)
        finally:
            path.unlink()

    return attempt


def map_writable_and_executable() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def make_executable() -> None:
    area = mmap.mmap(-1, 4096)
    address = ctypes.addressof(ctypes.c_char.from_buffer(area))
    checked(LIBC.mprotect(ctypes.c_void_p(address), 4096, mmap.PROT_READ | mmap.PROT_EXEC))


def make_device() -> None:
    path = f"/tmp/device-{os.getpid()}"
    os.mknod(path, 0o20600, os.makedev(1, 1))
    os.unlink(path)


def change_owner() -> None:
    with tempfile.NamedTemporaryFile(dir="/tmp") as file:
        os.chown(file.name, 0, 0)


def run_in_real_time() -> None:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def create_namespace(flag: int) -> Callable[[], None]:
    def attempt() -> None:
        checked(LIBC.unshare(flag))

    return attempt


def join_namespace() -> None:
    with open("/proc/1/ns/mnt", "rb") as file:
        checked(LIBC.setns(file.fileno(), 0))


def start_unit() -> None:
    """Something that changes nothing: it runs."""
    done = subprocess.run(["systemctl", "start", f"{OTHER}.socket"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(errno.EPERM, done.stderr.strip())


def make_control_group() -> None:
    group = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2]
    path = Path(f"/sys/fs/cgroup{group}/hostile")
    path.mkdir()
    path.rmdir()


def become_32_bit() -> None:
    """A personality is what old programs need, and attacks that count on addresses."""
    checked(LIBC.personality(0x0040000))  # ADDR_NO_RANDOMIZE


def state() -> str:
    return os.environ["STATE_DIRECTORY"]


CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWNS = 0x10000000, 0x40000000, 0x00020000

ATTEMPTS: dict[str, Callable[[], Any]] = {
    # what others have
    "read /etc/shadow": read("/etc/shadow"),
    "enter /root": enter("/root"),
    "enter a home directory": enter("/home/keeper"),
    "enter the directory of another application": enter(f"/opt/{OTHER}"),
    "read the environment of another application": read(f"/opt/{OTHER}/current/environment"),
    "read the state of another application": enter(f"/var/lib/gunicorn/{OTHER}"),
    "read the logs of another application": enter(f"/var/log/gunicorn/{OTHER}"),
    "connect to the private socket of another application": connect(f"/run/gunicorn/{OTHER}-blue.sock"),
    "connect to the control socket of another application": connect(f"/run/gunicorn/{OTHER}-blue/control.sock"),
    "read the environment of PID 1": read("/proc/1/environ"),
    "see processes of other users": other_processes,
    "read the kernel's log": lambda: checked(LIBC.klogctl(3, ctypes.create_string_buffer(64), 64)),
    "open /dev/kmsg": read("/dev/kmsg"),
    "read the kernel's symbols": read("/proc/kallsyms"),
    # what it runs, and what the host runs
    "write its code": write(lambda: own("code").resolve()),
    "write its venv": write(lambda: own("venv").resolve()),
    "write gunicorn.conf.py": write(lambda: own("gunicorn.conf.py")),
    "write its environment": write(lambda: own("environment")),
    "write beside its releases": write("/opt/hostile"),
    "write its unit": write("/etc/systemd/system/hostile-blue.service"),
    "write /etc": write("/etc"),
    "write /usr": write("/usr/local/bin"),
    "write /opt": write("/opt"),
    "write /run": write("/run"),
    "write /run/lock, where everybody may": write("/run/lock"),
    "write /var/lib/gunicorn": write("/var/lib/gunicorn"),
    "write a directory where everybody may": write("/srv/everybodys"),
    "write /proc/sys": write("/proc/sys/net/ipv4/ip_unprivileged_port_start"),
    "write /sys": write("/sys/kernel/mm/transparent_hugepage/enabled"),
    "make a control group": make_control_group,
    # the network below TCP and UDP
    "open a raw socket": open_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "open a packet socket": open_socket(socket.AF_PACKET, socket.SOCK_RAW),
    "open a netlink socket": open_socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "open a socket of the kernel's cryptography": open_socket(socket.AF_ALG, socket.SOCK_SEQPACKET),
    # more rights
    "become root": become_root,
    "run a set-uid program": run_set_uid_program,
    "make a set-uid program": make_set_uid_program,
    "start a unit": start_unit,
    "speak with D-Bus": connect("/run/dbus/system_bus_socket"),
    "speak with systemd": connect("/run/systemd/private"),
    "signal PID 1": lambda: os.kill(1, 0),
    "trace another process": trace,
    "read the memory of another process": read_memory,
    "create a user namespace": create_namespace(CLONE_NEWUSER),
    "create a network namespace": create_namespace(CLONE_NEWNET),
    "create a mount namespace": create_namespace(CLONE_NEWNS),
    "join the mount namespace of the host": join_namespace,
    "give a file away": change_owner,
    "make a device": make_device,
    "change its root directory": lambda: os.chroot("/tmp"),
    # code that wasn't deployed
    "map memory writable and executable": map_writable_and_executable,
    "make memory executable": make_executable,
    "run a program from its state directory": run_dropped_program(state),
    "run a program from /tmp": run_dropped_program(lambda: "/tmp"),
    "run a program from /dev/shm": run_dropped_program(lambda: "/dev/shm"),
    # the machine and its kernel
    "mount a file system": mount,
    "mount its code again": remount,
    "set the clock": set_clock,
    "set the host name": set_host_name,
    "load a module": lambda: call("init_module", None, 0, b""),
    "load another kernel": lambda: call("kexec_load", 0, 0, None, 0),
    "restart the machine": lambda: checked(LIBC.reboot(0)),  # RB_DISABLE_CAD: nothing happens
    "turn swap on": lambda: checked(LIBC.swapon(b"/nowhere", 0)),
    "load a BPF program": lambda: call("bpf", 0, None, 0),
    "watch the machine with perf": lambda: call("perf_event_open", None, 0, -1, -1, 0),
    "use the kernel's keyring": lambda: call("add_key", b"user", b"hostile", b"x", 1, -2),  # the process's own
    "use io_uring": lambda: call("io_uring_setup", 0, None),
    "use userfaultfd": lambda: call("userfaultfd", 0xFFFF),
    "run in real time": run_in_real_time,
    "take priority over others": lambda: os.nice(-5),
    "change its personality": become_32_bit,
}

PERMITTED = {
    # error numbers by which the kernel says that it looked at the arguments, and found them wanting
    "load a module": (errno.EFAULT, errno.ENOEXEC, errno.EINVAL),
    "load another kernel": (errno.EFAULT, errno.EINVAL),
    "turn swap on": (errno.ENOENT,),
    "load a BPF program": (errno.EFAULT, errno.EINVAL),
    "watch the machine with perf": (errno.EFAULT, errno.EINVAL),
    "use io_uring": (errno.EFAULT, errno.EINVAL),
    "use userfaultfd": (errno.EINVAL,),
    "read the memory of another process": (errno.EFAULT,),
}
REFUSALS = (errno.EPERM, errno.EACCES, errno.EROFS, errno.ENOENT, errno.EAFNOSUPPORT, errno.ENOSYS)


def attempt(function: Callable[[], Any], permitted: Iterable[int]) -> str:
    """What came of an attempt, in a process of its own: ``refused: ERROR``, ``GOT THROUGH``, or ``UNCLEAR``."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        with os.fdopen(reader) as answer:
            told = answer.read()
        _pid, status = os.waitpid(child, 0)
        return told or f"refused: killed by signal {os.WTERMSIG(status)}"
    told = "UNCLEAR"
    try:
        function()
        told = "GOT THROUGH"
    except OSError as problem:
        name = errno.errorcode.get(problem.errno or 0, "?")
        told = f"refused: {name}" if problem.errno in REFUSALS else f"UNCLEAR: {problem!r}"
        if (problem.errno or 0) in permitted:
            told = f"GOT THROUGH ({name})"
    finally:
        if told == "UNCLEAR":
            told += f": {sys.exc_info()}"
        os.write(writer, told.encode())
        os._exit(0)


def attempts() -> dict[str, str]:
    """Every attempt, made by a program that the worker starts: some workers are in no state to fork."""
    return json.loads(subprocess.check_output([sys.executable, __file__]))  # type: ignore[no-any-return]


def make_attempts() -> dict[str, str]:
    return {name: attempt(function, PERMITTED.get(name, ())) for name, function in ATTEMPTS.items()}


# What ordinary applications do. Each raises where it can't.


def tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        peer, _address = server.accept()
        client.sendall(b"x")
        assert peer.recv(1) == b"x"


def tcp_out() -> None:
    """The SSH server of the host stands for a database or an API."""
    with socket.create_connection((os.environ["DATABASE_HOST"], 22), timeout=5) as client:
        assert client.recv(4) == b"SSH-"


def udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"x", server.getsockname())
        assert server.recv(1) == b"x"


def unix_socket() -> None:
    path = f"{state()}/{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(path)
        server.listen()
        client.connect(path)
    os.unlink(path)


def ipv6() -> None:
    socket.socket(socket.AF_INET6).close()


def resolve() -> None:
    assert socket.getaddrinfo("localhost", 80)
    assert socket.getaddrinfo(os.environ["DATABASE_HOST"], 22), "a name that only DNS knows"


def threads() -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda number: number * 2, range(10))) == 90
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()


def double(number: int) -> int:
    return number * 2


def processes() -> None:
    """With semaphores and pipes; in a process of its own, as a job of an application."""
    program = (
        "import multiprocessing as m, hostile\n"
        "with m.get_context('fork').Pool(2) as pool: print(sum(pool.map(hostile.double, range(10))))\n"
        "queue = m.Queue(); queue.put(1); print(queue.get())\n"
        "with m.Lock(): pass\n"
    )
    assert subprocess.check_output([sys.executable, "-c", program], cwd=own("code"), text=True).split() == ["90", "1"]


def memory_that_is_shared() -> None:
    block = shared_memory.SharedMemory(create=True, size=1 << 20)
    assert block.buf
    block.buf[0] = 1
    block.close()
    block.unlink()
    semaphore = multiprocessing.get_context("fork").Semaphore()
    assert semaphore.acquire()


def subprocesses() -> None:
    assert subprocess.check_output(["/bin/echo", "x"], text=True) == "x\n"
    assert subprocess.check_output(["sh", "-c", "echo $((6 * 7)) | cat"], text=True) == "42\n"
    assert subprocess.check_output([sys.executable, "-c", "print(1)"], text=True) == "1\n"


def script_in_state() -> None:
    """A script, not a program: its interpreter is the host's."""
    path = Path(state(), "script.sh")
    path.write_text("echo x\n")
    assert subprocess.check_output(["sh", path], text=True) == "x\n"


def event_loop() -> None:
    """In a process of its own: some workers run one already."""
    program = (
        "import asyncio\n"
        "async def work():\n"
        "    process = await asyncio.create_subprocess_exec('/bin/echo', 'x', stdout=asyncio.subprocess.PIPE)\n"
        "    print((await process.communicate())[0].decode(), end='')\n"
        "asyncio.run(work())\n"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "x\n"


def database() -> None:
    connection = sqlite3.connect(f"{state()}/shop.db")
    connection.execute("pragma journal_mode = wal")
    connection.execute("create table if not exists items (name text)")
    connection.execute("insert into items values ('x')")
    connection.commit()
    assert connection.execute("select count(*) from items").fetchone()[0] >= 1
    connection.close()


def files() -> None:
    for directory in (state(), os.environ["LOGS_DIRECTORY"], os.environ["RUNTIME_DIRECTORY"], "/tmp", "/var/tmp"):
        path = Path(directory, "file")
        path.write_text("x")
        path.chmod(0o640)
        os.rename(path, path.with_suffix(".moved"))
        assert path.with_suffix(".moved").read_text() == "x"
        path.with_suffix(".moved").unlink()
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile(dir=directory) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(8192)
        with mmap.mmap(file.fileno(), 8192) as area:
            area[0] = 1
    shutil.copy2("/etc/hostname", f"{state()}/copy")


def read_the_host() -> None:
    assert Path("/etc/hostname").read_text()
    assert pwd.getpwuid(os.getuid()).pw_name
    assert os.cpu_count()
    assert os.sched_getaffinity(0)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 4096
    with mmap.mmap(os.open("/etc/passwd", os.O_RDONLY), 0, prot=mmap.PROT_READ) as area:
        assert area[:4] == b"root"


def c_library() -> None:
    assert LIBC.getpid() == os.getpid()
    numbers = (ctypes.c_int * 3)(3, 1, 2)
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    LIBC.qsort(numbers, 3, ctypes.sizeof(ctypes.c_int), compare(lambda one, two: one[0] - two[0]))
    assert list(numbers) == [1, 2, 3], "with a callback"


def c_extension() -> None:
    """A wheel with compiled code, from PyPI."""
    builder = importlib.import_module("cffi").FFI()
    builder.cdef("size_t strlen(const char *);")
    assert builder.dlopen(None).strlen(b"four") == 4


def cryptography() -> None:
    ssl.create_default_context()
    assert hashlib.scrypt(b"x", salt=b"y", n=2**10, r=8, p=1)
    assert os.urandom(8)


def signals() -> None:
    child = subprocess.Popen(["/bin/sleep", "60"])
    os.kill(child.pid, signal.SIGTERM)
    assert child.wait(10) == -signal.SIGTERM


def syslog_messages() -> None:
    syslog.syslog("an ordinary message")


def odds_and_ends() -> None:
    locale.setlocale(locale.LC_ALL, "")
    assert Decimal("0.1") + Decimal("0.2") == Decimal("0.3")
    assert struct.pack("!I", 1)
    assert time.localtime()
    reader, writer = os.pipe()
    os.write(writer, b"x")
    assert select.select([reader], [], [], 1)[0] == [reader]
    assert os.read(reader, 1) == b"x"
    assert sum(1 for _entry in os.scandir("/proc/self/fd"))


ORDINARY: dict[str, Callable[[], None]] = {
    "TCP": tcp,
    "TCP to another address": tcp_out,
    "UDP": udp,
    "Unix sockets": unix_socket,
    "IPv6": ipv6,
    "DNS": resolve,
    "threads": threads,
    "processes": processes,
    "shared memory": memory_that_is_shared,
    "subprocesses": subprocesses,
    "a script that it wrote": script_in_state,
    "an event loop": event_loop,
    "SQLite": database,
    "files": files,
    "looking at the host": read_the_host,
    "ctypes": c_library,
    "a C extension": c_extension,
    "cryptography": cryptography,
    "signals": signals,
    "syslog": syslog_messages,
    "odds and ends": odds_and_ends,
}


def ordinary() -> dict[str, str]:
    outcomes = {}
    for name, function in ORDINARY.items():
        try:
            function()
            outcomes[name] = "works"
        except Exception:
            logging.exception(name)
            outcomes[name] = traceback.format_exc()
    return outcomes


def writable() -> list[str]:
    """Every directory and regular file that the service may write, of the whole tree."""
    prune = ["(", "-path", "/proc", "-o", "-path", "/sys", ")", "-prune", "-o"]
    command = ["find", "/", *prune, "(", "-type", "d", "-o", "-type", "f", ")", "-writable", "-print"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


PAGES: dict[str, Callable[[], Any]] = {"/attempts": attempts, "/ordinary": ordinary, "/writable": writable}


def page(path: str) -> bytes:
    return json.dumps(PAGES[path]() if path in PAGES else "ready").encode()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """The application for WSGI."""
    body = page(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi_app(scope: dict[str, Any], _receive: Any, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    """The application for ASGI."""
    if scope["type"] != "http":
        return
    body = page(scope["path"])
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    print(json.dumps(make_attempts()))
