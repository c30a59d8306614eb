"""What is measured: each function runs one load against one server and returns a Sample."""
import os
import random
import socket
import subprocess
import time
from dataclasses import dataclass

from servers import get

HERE = os.path.dirname(os.path.abspath(__file__))
FILE_BYTES = 1024
LARGE_BYTES = 64 << 20
# More requests a second than either server reaches here: so many ids are prepared for a write.
MOST_WRITES_A_SECOND = 60_000


@dataclass
class Sample:
    """One measurement."""
    rate: float
    p50: float = 0
    p99: float = 0
    fault: str = ""


def wrk(server, host, script, arguments, connections, seconds):
    """Runs wrk with one thread; the answers' statuses are checked."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s",
               os.path.join(HERE, script), f"http://{host}", "--"] + arguments
    result = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in result.stdout.splitlines() if line.startswith("RESULT ")]
    if not lines:
        return Sample(0, fault="wrk: " + (result.stderr or result.stdout).strip()[-200:]), 0
    requests, microseconds, broken, status, p50, p99 = map(float, lines[0].split()[1:])
    fault = ""
    if status:
        fault = f"{int(status)} of {int(requests)} answers were errors"
    elif broken:
        fault = f"{int(broken)} requests broke off"
    elif requests == 0:
        fault = "no answer at all"
    return Sample(requests / microseconds * 1e6, p50 / 1000, p99 / 1000, fault), int(requests)


def write_lines(path, lines):
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")
    return path


class Reads:
    """Random reads of 1 KB files that were written before."""

    def __init__(self, server, client, base, count):
        listing = os.path.join(base, server.name + ".fids")
        subprocess.run(
            [client, "benchmark", f"-master={server.master}", f"-n={count}", "-c=16",
             f"-size={FILE_BYTES}", "-read=false", "-collection=reads", f"-list={listing}"],
            check=True, stdout=subprocess.DEVNULL)
        with open(listing) as file:
            ids = ["/" + line.strip() for line in file]
        self.path = write_lines(listing + ".paths", ids)

    def run(self, server, connections, seconds):
        return wrk(server, server.volume, "get.lua", [self.path], connections, seconds)[0]


class Writes:
    """Writes of 1 KB to fresh file ids; a sample is read back and compared."""

    def __init__(self, base, suffix="", replication=""):
        self.base, self.suffix, self.number = base, suffix, 0
        self.query = f"&replication={replication}" if replication else ""

    def run(self, server, connections, seconds):
        self.number += 1
        kind = ("f" if self.suffix else "") + ("r" if self.query else "")
        collection = f"w{kind}{connections}x{self.number}"
        get(f"http://{server.master}/vol/grow?count=7&collection={collection}{self.query}")
        ids = server.file_ids(seconds * MOST_WRITES_A_SECOND, collection, self.query)
        path = write_lines(os.path.join(self.base, "writes.paths"), ids)
        sample, requests = wrk(
            server, server.volume, "post.lua", [path, self.suffix], connections, seconds)
        # What was under way when the time was up may be missing.
        certain = min(requests - connections, len(ids))
        if not sample.fault and requests <= len(ids):
            sample.fault = self.check(server, ids, certain)
        server.delete_collection(collection)
        return sample

    def check(self, server, ids, count):
        for index in random.sample(range(max(0, count)), min(200, max(0, count))):
            status, body = get(f"http://{server.volume}{ids[index]}")
            if status != 200 or len(body) != FILE_BYTES or body[:16] != b"%016d" % index:
                return f"{ids[index]} was answered but reads back as {status}, {len(body)} bytes"
        return ""


class OriginalBenchmark:
    """The original's own `benchmark` against a cluster of either kind; it finds volume servers by itself."""

    def __init__(self, program, base, count):
        self.program, self.base, self.count = program, base, count

    def run(self, server, connections):
        """Samples of its writes and of its reads."""
        listing = os.path.join(self.base, server.name + ".list")
        result = subprocess.run(
            [self.program, "benchmark", f"-master={server.master}", f"-n={self.count}",
             f"-c={connections}", f"-list={listing}"], capture_output=True, text=True, timeout=600)
        lines = result.stdout.splitlines()
        rates = [float(line.split()[3]) for line in lines if "per second" in line]
        failed = sum(int(line.split()[-1]) for line in lines if "Failed requests" in line)
        fault = "" if len(rates) == 2 and not failed else f"{failed} requests failed"
        rates += [0, 0]
        return Sample(rates[0], fault=fault), Sample(rates[1], fault=fault)


class MasterPaths:
    """Assigns or look-ups at the master."""

    def __init__(self, server, base, kind):
        if kind == "assign":
            # The original counts every assign as a megabyte to come, and while it makes volumes for them it
            # answers 503: there must be room for all.
            get(f"http://{server.master}/vol/grow?count=60", timeout=60)
            paths = ["/dir/assign"]
        else:
            volumes = sorted({server.assign()["fid"].split(",")[0] for _ in range(100)})
            paths = [f"/dir/lookup?volumeId={v}" for v in volumes]
        self.path = write_lines(os.path.join(base, f"{server.name}.{kind}"), paths)

    def run(self, server, connections, seconds):
        return wrk(server, server.master, "get.lua", [self.path], connections, seconds)[0]


class Large:
    """64 MB bodies, one at a time, over a plain socket: MB a second."""

    def __init__(self):
        self.body = bytearray(os.urandom(1 << 20)) * (LARGE_BYTES >> 20)
        self.number = 0
        self.fids = {}

    def put(self, server):
        self.number += 1
        self.body[:8] = self.number.to_bytes(8, "big")
        fid = server.assign(1, "large")["fid"]
        head = (f"PUT /{fid} HTTP/1.1\r\nHost: {server.volume}\r\nContent-Length: {LARGE_BYTES}\r\n"
                "Content-Type: application/octet-stream\r\n\r\n").encode()
        with connect(server.volume) as s:
            began = time.perf_counter()
            s.sendall(head)
            s.sendall(self.body)
            status = s.recv(65536).split(b" ")[1]
            seconds = time.perf_counter() - began
        if server in self.fids:
            get(f"http://{server.volume}/{self.fids[server]}", "DELETE")
        self.fids[server] = fid
        fault = "" if status == b"201" else f"PUT answered {status.decode()}"
        return Sample(LARGE_BYTES / seconds / 1e6, fault=fault)

    def get(self, server):
        request = f"GET /{self.fids[server]} HTTP/1.1\r\nHost: {server.volume}\r\n\r\n".encode()
        buffer = bytearray(1 << 20)
        with connect(server.volume) as s:
            began = time.perf_counter()
            s.sendall(request)
            first = s.recv_into(buffer)
            end = buffer.find(b"\r\n\r\n", 0, first) + 4
            status = bytes(buffer[:first]).split(b" ")[1]
            left = LARGE_BYTES - (first - end)
            while left > 0:
                count = s.recv_into(buffer)
                if count == 0:
                    return Sample(0, fault=f"GET broke off with {left} bytes to come")
                left -= count
            seconds = time.perf_counter() - began
        return Sample(LARGE_BYTES / seconds / 1e6,
                      fault="" if status == b"200" else f"GET answered {status.decode()}")


def connect(host):
    name, port = host.split(":")
    return socket.create_connection((name, int(port)), timeout=60)
