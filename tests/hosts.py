"""Machines of a network that a test makes: namespaces of Linux, a real ``sshd`` in each.

Each has an address, a home folder and processes of its own; the file system is common, as over NFS.
The test itself can step into the network, which the machine's own knows nothing of. It takes root,
the tools of iproute2 and util-linux, and OpenSSH's server; all ends with the block.
"""

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

TOOLS = ("ip", "unshare", "sshd", "ssh-keygen")
SEARCHED = os.environ["PATH"] + ":/usr/sbin:/sbin"


def missing():
    """Why there can be no hosts here; empty if there can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces need Linux"
    if absent := [tool for tool in TOOLS if not shutil.which(tool, path=SEARCHED)]:
        return f"{', '.join(absent)} not installed"
    name = f"mgtry{os.getpid()}"
    made = subprocess.run([tool("ip"), "netns", "add", name], capture_output=True, text=True)
    if made.returncode:
        return f"no network namespace can be made: {made.stderr.strip()}"
    subprocess.run([tool("ip"), "netns", "del", name], check=True)
    return ""


def need_hosts():
    if reason := missing():
        pytest.skip(f"two hosts cannot be made: {reason}")


def tool(name):
    return shutil.which(name, path=SEARCHED)


def ip(*arguments):
    subprocess.run([tool("ip"), *map(str, arguments)], check=True, capture_output=True)


class Host:
    """One machine; ``address`` is reached from this process and from the other hosts."""

    def __init__(self, network, number):
        self.address = f"10.213.0.{number + 1}"
        self.space = f"{network.name}h{number}"
        self.cable = f"{network.name}v{number}"
        self.home = network.folder / f"host{number}"
        self.home.mkdir()
        self.network = network
        add_space(self.space)
        veth = ("type", "veth", "peer", "name", "eth0", "netns", self.space)
        ip("-n", network.name, "link", "add", self.cable, *veth)
        ip("-n", network.name, "link", "set", self.cable, "master", "switch", "up")
        ip("-n", self.space, "addr", "add", f"{self.address}/24", "dev", "eth0")
        ip("-n", self.space, "link", "set", "eth0", "up")
        self._init = None

    def command(self, *command):
        return [tool("ip"), "netns", "exec", self.space, *map(str, command)]

    def serve(self, key, **environment):
        """Start the server, from within the network; whoever logs in ends with it."""
        own = self.home / "host_key"
        keygen(own)
        set_env = " ".join(f'"{name}={value}"' for name, value in environment.items())
        (self.home / "sshd_config").write_text(
            f"HostKey {own}\nAuthorizedKeysFile {key}.pub\nPermitRootLogin prohibit-password\n"
            f"StrictModes no\nUsePAM no\nPidFile none\nSubsystem sftp internal-sftp\n"
            f"SetEnv HOME={self.home} {set_env}\n"
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        self._init = subprocess.Popen(
            [
                *self.command(tool("unshare"), "--pid", "--fork", "--kill-child", "--mount-proc"),
                tool("sshd"), "-D", "-e", "-f", str(self.home / "sshd_config"),
            ],
            stderr=(self.home / "sshd.log").open("w"),
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection((self.address, 22), 1):
                return
            assert time.monotonic() < deadline, (self.home / "sshd.log").read_text()
            time.sleep(0.1)

    def commands(self):
        """Command lines of the processes that run on it."""
        listed = subprocess.run(
            [tool("ip"), "netns", "pids", self.space], text=True, capture_output=True, check=True
        )
        files = [Path(f"/proc/{pid}/cmdline") for pid in listed.stdout.split()]
        return [file.read_text() for file in files if file.exists()]

    def cut_off(self):
        """Pull the cable."""
        ip("-n", self.network.name, "link", "set", self.cable, "down")

    def end(self):
        if self._init is not None:
            self._init.kill()
            self._init.wait()
        ip("netns", "del", self.space)


def keygen(path):
    subprocess.run(
        [tool("ssh-keygen"), "-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f", str(path)], check=True
    )


def add_space(name):
    """A namespace whose connections break soon after a cable: the default is 15 minutes."""
    ip("netns", "add", name)
    ip("-n", name, "link", "set", "lo", "up")
    retries = "echo 4 > /proc/sys/net/ipv4/tcp_retries2"
    subprocess.run([tool("ip"), "netns", "exec", name, "sh", "-c", retries], check=True)


class Network:
    """A switch in a namespace of its own, in which NNI's manager can run."""

    address = "10.213.0.254"

    def __init__(self, folder):
        self.folder = folder
        self.name = f"mg{os.getpid()}"
        add_space(self.name)
        ip("-n", self.name, "link", "add", "switch", "type", "bridge")
        ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "switch")
        ip("-n", self.name, "link", "set", "switch", "up")

    @contextlib.contextmanager
    def within(self):
        """Let this thread, and what it starts, be in the network."""
        with (
            Path("/proc/thread-self/ns/net").open() as own,
            Path(f"/run/netns/{self.name}").open() as other,
        ):
            enter(other)
            try:
                yield
            finally:
                enter(own)

    def end(self):
        ip("netns", "del", self.name)


def enter(space):
    if ctypes.CDLL(None, use_errno=True).setns(space.fileno(), 0):
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def two_hosts(folder):
    """A network with two hosts."""
    with contextlib.ExitStack() as stack:
        network = Network(folder)
        stack.callback(network.end)
        hosts = []
        for number in range(2):
            hosts.append(Host(network, number))
            stack.callback(hosts[-1].end)
        yield network, hosts
