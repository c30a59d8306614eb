"""What the black-box tools share: a server process on free ports, a small HTTP client, figures."""

import argparse
import atexit
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LOOPBACK = "127.0.0.1"


def say(text):
    print(text, flush=True)


def fail(text):
    say("FAILED: " + text)
    sys.exit(1)


def base_parser(about):
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument(
        "--weed", help="binary under test (default: .build/release/weed, built when missing)"
    )
    parser.add_argument("--seed", type=int, help="repeats a run")
    parser.add_argument(
        "--keep", action="store_true", help="keep the data directory and print its path"
    )
    parser.add_argument(
        "--dir", help="where scratch directories are made (default: $TMPDIR or /tmp)"
    )
    return parser


def find_weed(given):
    """The binary: the argument, $WEED_BINARY, a build in place, or a new release build."""
    if given or os.environ.get("WEED_BINARY"):
        return os.path.abspath(given or os.environ["WEED_BINARY"])
    release = os.path.join(ROOT, ".build", "release", "weed")
    if os.path.exists(release):
        return release
    setup = os.path.join(ROOT, "tools", "setup")
    if os.path.exists(setup):
        subprocess.run([setup], check=True)
    say("building .build/release/weed ...")
    subprocess.run(["swift", "build", "-c", "release", "--product", "weed"], cwd=ROOT, check=True)
    return release


def seeded(given, label):
    seed = given if given is not None else random.SystemRandom().randrange(1 << 32)
    say(f"{label}: seed {seed}")
    return seed


class Scratch:
    """A directory that is removed at exit, unless it is to be kept."""

    def __init__(self, options, label):
        self.path = tempfile.mkdtemp(prefix=f"weed-{label}-", dir=options.dir)
        if options.keep:
            say(f"data in {self.path}")
        else:
            atexit.register(shutil.rmtree, self.path, True)


def free_ports():
    """Two ports, each free together with the port 10000 above it."""

    def is_free(port):
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
                return True
            except OSError:
                return False

    for _ in range(200):
        pair = random.SystemRandom().sample(range(11000, 21000), 2)
        if all(is_free(p) and is_free(p + 10000) for p in pair):
            return pair
    fail("no free ports")


class Server:
    """A `weed server` process. Ends with this process at the latest."""

    def __init__(self, weed, directory, flags=(), env=None, max_volumes=8, log=None, ready=60):
        self.weed, self.directory, self.flags = weed, directory, list(flags)
        self.env = dict(os.environ, **(env or {}))
        self.max_volumes = max_volumes
        self.log_path = log or directory.rstrip("/") + ".log"
        self.process = None
        self.ready_seconds = ready
        version = subprocess.run([weed, "version"], capture_output=True, text=True, timeout=20)
        self.is_go = "GB " in version.stdout + version.stderr
        self.master_port, self.volume_port = free_ports()
        atexit.register(self.kill)

    def start(self, wait=True):
        command = [
            self.weed,
            "server",
            f"-dir={self.directory}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-master.port={self.master_port}",
            f"-volume.port={self.volume_port}",
            f"-volume.max={self.max_volumes}",
        ] + self.flags
        if self.is_go:
            command += ["-master.telemetry=false", "-master.peers=none", "-filer=false"]
        self.started = time.monotonic()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env
            )
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self):
        deadline = time.monotonic() + self.ready_seconds
        while True:
            if self.process.poll() is not None:
                fail(f"the server ended with {self.process.returncode}:\n{self.log()[-3000:]}")
            try:
                answer = Client(self.master_port, timeout=5).request("GET", "/dir/status")
                ready = answer.status == 200 and str(self.volume_port).encode() in answer.body
                if (
                    ready
                    and Client(self.volume_port, timeout=5).request("GET", "/status").status == 200
                ):
                    return
            except OSError:
                pass
            if time.monotonic() > deadline:
                self.kill()
                fail(f"the server is not ready after {self.ready_seconds} s:\n{self.log()[-3000:]}")
            time.sleep(0.005)

    def log(self):
        with open(self.log_path, "rb") as log:
            return log.read().decode("utf-8", "replace")

    def terminate(self, seconds=60):
        """SIGTERM; the exit code, which must come in time."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            fail(f"no stop within {seconds} s of SIGTERM:\n{self.log()[-3000:]}")

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def memory(self):
        """Resident and anonymous bytes."""
        rss = anonymous = 0
        with open(f"/proc/{self.process.pid}/smaps_rollup") as rollup:
            for line in rollup:
                name, _, rest = line.partition(":")
                if name == "Rss":
                    rss = int(rest.split()[0]) * 1024
                elif name == "Anonymous":
                    anonymous = int(rest.split()[0]) * 1024
        return rss, anonymous

    def status(self):
        return json.loads(Client(self.volume_port).request("GET", "/status").body)


class Answer:
    __slots__ = ("status", "headers", "body", "closes")

    def __init__(self, status, headers, body, closes):
        self.status, self.headers, self.body, self.closes = status, headers, body, closes

    def json(self):
        return json.loads(self.body)


class Broken(OSError):
    """The connection ended before the answer was complete."""


class Client:
    """One keep-alive connection; a lost one is opened anew only when nothing of an answer came."""

    def __init__(self, port, timeout=30):
        self.port, self.timeout = port, timeout
        self.socket, self.buffer = None, b""

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket, self.buffer = None, b""

    def connect(self):
        self.close()
        self.socket = socket.create_connection((LOOPBACK, self.port), self.timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def request(self, method, path, body=None, headers=None, sink=None):
        """`sink`, when given, gets the body in pieces, and the answer's body stays empty."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {LOOPBACK}:{self.port}\r\n"
        for name, value in (headers or {}).items():
            head += f"{name}: {value}\r\n"
        if body is not None:
            head += f"Content-Length: {len(body)}\r\n"
        data = (head + "\r\n").encode()
        reused = self.socket is not None
        if not reused:
            self.connect()
        try:
            self._send(data, body)
            return self._read(method, sink)
        except Broken:
            if not reused or self.buffer:
                self.close()
                raise
        except OSError:
            self.close()
            raise
        self.connect()
        try:
            self._send(data, body)
            return self._read(method, sink)
        except OSError:
            self.close()
            raise

    def _send(self, head, body):
        try:
            if body is None or len(body) < 65536:
                self.socket.sendall(head + (body or b""))
            else:
                self.socket.sendall(head)
                self.socket.sendall(body)
        except (BrokenPipeError, ConnectionResetError) as error:
            # The server may have answered before it closed: the answer decides.
            if isinstance(error, ConnectionResetError):
                raise Broken(str(error)) from error

    def _fill(self):
        try:
            data = self.socket.recv(262144)
        except ConnectionResetError as error:
            raise Broken(str(error)) from error
        if not data:
            raise Broken("closed")
        self.buffer += data

    def _read(self, method, sink):
        while True:
            while b"\r\n\r\n" not in self.buffer:
                self._fill()
            head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            status = int(lines[0].split(" ", 2)[1])
            if status >= 200:
                break
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        closes = headers.get("connection", "").lower() == "close"
        body = b""
        if method != "HEAD" and status not in (204, 304):
            if headers.get("transfer-encoding", "").lower() == "chunked":
                body = self._chunks()
            elif "content-length" in headers:
                body = self._exactly(int(headers["content-length"]), sink)
            else:
                closes = True
                try:
                    while True:
                        self._fill()
                except Broken:
                    body, self.buffer = self.buffer, b""
        if closes:
            self.close()
        return Answer(status, headers, body, closes)

    def _exactly(self, count, sink=None):
        if sink is not None:
            while count:
                if not self.buffer:
                    self._fill()
                piece, self.buffer = self.buffer[:count], self.buffer[count:]
                sink(piece)
                count -= len(piece)
            return b""
        if len(self.buffer) >= count:
            body, self.buffer = self.buffer[:count], self.buffer[count:]
            return body
        pieces, missing = [self.buffer], count - len(self.buffer)
        self.buffer = b""
        while missing:
            try:
                piece = self.socket.recv(min(missing, 1 << 20))
            except ConnectionResetError as error:
                raise Broken(str(error)) from error
            if not piece:
                raise Broken("closed inside a body")
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def _chunks(self):
        pieces = []
        while True:
            while b"\r\n" not in self.buffer:
                self._fill()
            line, _, self.buffer = self.buffer.partition(b"\r\n")
            size = int(line.split(b";")[0], 16)
            if size == 0:
                while b"\r\n" not in self.buffer:
                    self._fill()
                self.buffer = self.buffer.partition(b"\r\n")[2]
                return b"".join(pieces)
            pieces.append(self._exactly(size))
            self._exactly(2)


BOUNDARY = "----weed-tools-5d2f81c7"


def multipart(data, name="file.bin", kind=None, extra=()):
    """Body and headers of a form upload."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    if kind:
        head += f"Content-Type: {kind}\r\n"
    for field, value in extra:
        head += f"{field}: {value}\r\n"
    body = (head + "\r\n").encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def upload(client, fid, data, name="file.bin", kind=None, query=""):
    body, headers = multipart(data, name, kind)
    return client.request("POST", f"/{fid}{query}", body, headers)


def assign(client, count=1, query=""):
    """One fid, or the fids of a count; waits out a growth in progress."""
    deadline = time.monotonic() + 20
    while True:
        answer = client.request("GET", f"/dir/assign?count={count}{query}")
        if answer.status == 200:
            fid = answer.json()["fid"]
            return [fid] + [f"{fid}_{n}" for n in range(1, count)]
        if answer.status not in (503, 406) or time.monotonic() > deadline:
            raise OSError(f"assign answers {answer.status} {answer.body[:200]!r}")
        time.sleep(0.1)


def percentiles(samples):
    """Median, 99th percentile and largest, in milliseconds."""
    if not samples:
        return "no samples"
    ordered = sorted(samples)
    at = lambda share: ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000
    return f"median {at(0.5):.2f} ms, p99 {at(0.99):.2f} ms, worst {ordered[-1] * 1000:.1f} ms"


def megabytes(count):
    return f"{count / 1e6:.1f} MB"
