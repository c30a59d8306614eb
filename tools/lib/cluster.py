"""Masters and volume servers of either kind as processes on free ports of 127.0.0.1."""

import atexit
import os
import signal
import socket
import subprocess
import time

from harness import LOOPBACK, ROOT, Client, fail, free_ports

READY_SECONDS = 30


def find_original(given):
    """The Go original's binary, installed when nobody names one; None, and why, without it."""
    if given:
        return os.path.abspath(given), ""
    run = subprocess.run(
        [os.path.join(ROOT, "tools", "go-original")], capture_output=True, text=True, timeout=400
    )
    if run.returncode == 0:
        return run.stdout.strip().splitlines()[-1], ""
    return None, (run.stderr.strip().splitlines() or ["tools/go-original fails"])[-1]


def free_port():
    """A port that is free together with the port 10000 above it."""
    return free_ports()[0]


class Process:
    """A server that ends with this process at the latest; ended by its process id alone."""

    def __init__(self, name, command, log):
        self.name, self.command, self.log_path = name, command, log
        self.process = None
        atexit.register(self.kill)

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def terminate(self, seconds=30):
        """SIGTERM; the exit code, or None when it had to be killed."""
        if not self.is_running():
            return self.process.returncode if self.process else None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def kill(self):
        if self.is_running():
            self.process.kill()
            self.process.wait()

    def log(self, lines=12):
        with open(self.log_path, "rb") as log:
            text = log.read().decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-lines:])


def is_answering(port):
    try:
        with socket.create_connection((LOOPBACK, port), 1):
            return True
    except OSError:
        return False


class Cluster:
    """One master and its volume servers."""

    def __init__(self, base, ours, original):
        self.base, self.binaries = base, {"ours": ours, "go": original}
        self.master, self.master_port, self.master_kind = None, 0, ""
        self.volumes, self.others = [], []

    @property
    def processes(self):
        return [*self.others, *[volume for volume, _ in self.volumes], self.master]

    @property
    def address(self):
        return f"{LOOPBACK}:{self.master_port}"

    def start_master(self, kind, flags=()):
        self.master_kind, self.master_port = kind, free_port()
        directory = os.path.join(self.base, "master")
        os.makedirs(directory, exist_ok=True)
        command = [
            self.binaries[kind],
            "master",
            f"-mdir={directory}",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            f"-port={self.master_port}",
            "-peers=none",
            "-volumeSizeLimitMB=1000",
            *flags,
        ]
        if kind == "go":
            command.append("-telemetry=false")
        self.master = Process(f"{kind} master", command, directory + ".log").start()
        self._wait("the master", lambda: is_answering(self.master_port + 10000))

    def start_volume(self, kind, flags=(), max_volumes=60):
        port = free_port()
        directory = os.path.join(self.base, f"volume-{len(self.volumes)}-{kind}")
        os.makedirs(directory, exist_ok=True)
        command = [
            self.binaries[kind],
            "volume",
            f"-dir={directory}",
            f"-max={max_volumes}",
            f"-mserver={self.address}",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            f"-port={port}",
            "-preStopSeconds=0",
            *flags,
        ]
        process = Process(f"{kind} volume server", command, directory + ".log").start()
        self.volumes.append((process, port))
        self._wait(f"the {kind} volume server", lambda: self.knows(port))
        return port

    def start_other(self, name, arguments, port):
        """A filer or gateway of the original."""
        log = os.path.join(self.base, name + ".log")
        process = Process(name, [self.binaries["go"], *arguments], log).start()
        self.others.append(process)
        self._wait(name, lambda: is_answering(port))
        return process

    def knows(self, port):
        """Whether the master has heard of the volume server on this port."""
        try:
            answer = Client(self.master_port, timeout=5).request("GET", "/dir/status")
        except OSError:
            return False
        return answer.status == 200 and f"{LOOPBACK}:{port}".encode() in answer.body

    def _wait(self, what, condition):
        deadline = time.monotonic() + READY_SECONDS
        while not condition():
            ended = [p.name for p in self.processes if p and not p.is_running()]
            if ended or time.monotonic() > deadline:
                why = f"{', '.join(ended)} ended" if ended else f"not after {READY_SECONDS} s"
                fail(f"{what} does not answer: {why}\n{self.logs()}")
            time.sleep(0.05)

    def logs(self):
        return "\n".join(
            f"--- {process.name}\n{process.log()}" for process in self.processes if process
        )

    def stop(self):
        """Stops everything; what did not end as it should, one line each."""
        faults = []
        for process in self.processes:
            if process is None:
                continue
            code = process.terminate()
            if code != 0 and process.command[0] == self.binaries["ours"]:
                faults.append(f"{process.name} stopped with {code}")
        self.master, self.volumes, self.others = None, [], []
        return faults
