"""A disk that is full, and a disk that fails.

Each scenario returns a fault, None, or "skipped: why"."""

import atexit
import hashlib
import os
import random
import shutil
import subprocess
import time

from harness import ROOT, Client, Scratch, Server, assign, say, upload

TMPFS_BYTES = 96 << 20
BALLAST_BYTES = 24 << 20
FILE_BYTES = 200_000
RESUME_SECONDS = 90


class Store:
    """What was acknowledged, so that it can be asked for again."""

    def __init__(self, server, seed):
        self.server, self.generator, self.known = server, random.Random(seed), {}

    def put(self, fid, size=FILE_BYTES):
        """The status of an upload, its text when it failed."""
        data = self.generator.randbytes(size)
        answer = upload(Client(self.server.volume_port, 30), fid, data)
        if answer.status == 201:
            self.known[fid] = hashlib.sha256(data).hexdigest()
        return answer.status, answer.body.decode("utf-8", "replace")

    def check(self, moment):
        client = Client(self.server.volume_port, 30)
        for fid, digest in self.known.items():
            answer = client.request("GET", f"/{fid}")
            if digest is None:
                if answer.status != 404:
                    return f"{moment}: deleted {fid} answers {answer.status}"
            elif answer.status != 200 or hashlib.sha256(answer.body).hexdigest() != digest:
                size = len(answer.body)
                return f"{moment}: acknowledged {fid} answers {answer.status}, {size} bytes"
        return None


def mount_tmpfs(path):
    os.makedirs(path)
    command = ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "weed-test", path]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        return str(error)
    if done.returncode != 0:
        return done.stderr.strip() or "mount failed"
    atexit.register(subprocess.run, ["umount", "-l", path])
    return None


def reserve(server, count, batch=50, query=""):
    master, fids = Client(server.master_port, 20), []
    while len(fids) < count:
        fids += assign(master, batch, query)
    random.Random(1).shuffle(fids)
    return fids


def disk_full(weed, options, seed):
    scratch = Scratch(options, "disk-full")
    data = os.path.join(scratch.path, "full")
    problem = mount_tmpfs(data)
    if problem:
        return f"skipped: a small tmpfs cannot be mounted ({problem})"
    ballast = os.path.join(data, "ballast")
    with open(ballast, "wb") as file:
        file.write(b"\0" * BALLAST_BYTES)
    server = Server(weed, data, log=os.path.join(scratch.path, "log")).start()
    store, fids = Store(server, seed), reserve(server, 1500)
    status, text = fill(store, fids)
    if status is None:
        return text
    say(f"      disk full after {len(store.known)} files: {status} {text[:160]}")
    faults = [
        store.check("while full"),
        refused_while_full(store, fids),
        store.check("after refusals"),
    ]
    faults.append(restart_while_full(server, store))
    os.remove(ballast)
    faults.append(resume(store, fids))
    faults.append(store.check("after resuming"))
    server.terminate()
    server.start()
    faults.append(store.check("after the last restart"))
    server.terminate()
    return next((fault for fault in faults if fault), None)


def fill(store, fids):
    """Uploads until one is refused."""
    while fids:
        status, text = store.put(fids.pop())
        if 500 <= status < 600:
            return status, text
        if status != 201:
            return None, f"filling up: an upload answers {status} {text[:200]}"
    return None, "filling up: the disk never got full"


def refused_while_full(store, fids):
    """Large writes stay refused, small ones may fit; deletes answer in order."""
    seen = {}
    for number in range(40):
        status, _ = store.put(fids.pop(), FILE_BYTES if number % 2 else 500)
        seen[status] = seen.get(status, 0) + 1
        if status != 201 and not 500 <= status < 600:
            return f"while full an upload answers {status}"
    client = Client(store.server.volume_port, 30)
    for fid in [fid for fid, digest in store.known.items() if digest][:5]:
        status = client.request("DELETE", f"/{fid}").status
        if status == 202:
            store.known[fid] = None
        elif not 500 <= status < 600:
            return f"while full a delete answers {status}"
    say(f"      while full: uploads answered {seen}")
    return None


def restart_while_full(server, store):
    code = server.terminate()
    if code != 0 and not server.is_go:
        return f"exit code {code} of a stop while the disk is full:\n{server.log()[-1500:]}"
    server.start()
    fault = store.check("after a restart while full")
    if fault:
        return fault
    server.kill()
    server.start()
    return store.check("after a kill and a restart while full")


def resume(store, fids):
    """Writes must be taken again once there is space."""
    deadline, started = time.monotonic() + RESUME_SECONDS, time.monotonic()
    status = text = None
    while time.monotonic() < deadline and fids:
        status, text = store.put(fids.pop())
        if status == 201:
            say(f"      writes resumed {time.monotonic() - started:.1f} s after space came back")
            break
        time.sleep(0.5)
    if status != 201:
        return f"{RESUME_SECONDS} s after space came back an upload answers {status} {text[:200]}"
    for _ in range(20):
        status, text = store.put(fids.pop())
        if status != 201:
            return f"after writes resumed an upload answers {status} {text[:200]}"
    return None


def build_injector(scratch):
    compiler = (
        os.environ.get("CC") or shutil.which("cc") or shutil.which("clang") or shutil.which("gcc")
    )
    if not compiler:
        return None, "no C compiler"
    library = os.path.join(scratch.path, "disk_fault.so")
    source = os.path.join(ROOT, "tools", "lib", "disk_fault.c")
    done = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"],
        capture_output=True,
        text=True,
    )
    return (library, None) if done.returncode == 0 else (None, done.stderr.strip())


def io_error(weed, options, seed, mode="all"):
    scratch = Scratch(options, "io-error")
    library, problem = build_injector(scratch)
    if problem:
        return f"skipped: the fault injector cannot be built ({problem})"
    data, trigger = os.path.join(scratch.path, "data"), os.path.join(scratch.path, "trigger")
    os.mkdir(data)
    server = Server(weed, data, env={"LD_PRELOAD": library, "WEED_FAULT_TRIGGER": trigger}).start()
    store = Store(server, seed)
    by_volume = {}
    # Two collections never share a volume.
    for fid in reserve(server, 60, 20) + reserve(server, 60, 20, "&collection=other"):
        by_volume.setdefault(fid.split(",")[0], []).append(fid)
    for fids in by_volume.values():
        for _ in range(5):
            status, text = store.put(fids.pop(), 3000)
            if status != 201:
                return f"before the fault an upload answers {status} {text[:200]}"
    bad = next(iter(by_volume))
    with open(trigger + ".new", "w") as order:
        order.write(f"{mode} /{bad}.dat")
    os.rename(trigger + ".new", trigger)
    faults = [failing_volume(store, by_volume, bad)]
    os.remove(trigger)
    faults.append(still_refusing(store, by_volume, bad, server.is_go))
    faults.append(store.check("after the fault"))
    server.terminate()
    server.start()
    faults.append(store.check("after a restart"))
    status, text = store.put(by_volume[bad].pop(), 3000)
    if status != 201:
        faults.append(f"after a restart volume {bad} answers {status} {text[:200]}")
    server.terminate()
    return next((fault for fault in faults if fault), None)


def failing_volume(store, by_volume, bad):
    """The volume refuses, says why, stays readable; the others go on; it gets no new ids."""
    for _ in range(4):
        status, text = store.put(by_volume[bad].pop(), 3000)
        if not 500 <= status < 600:
            return f"a write that cannot reach the disk answers {status} {text[:200]}"
    say(f"      volume {bad} refuses: {text[:160]}")
    victim = next(fid for fid in store.known if fid.startswith(bad + ","))
    status = Client(store.server.volume_port, 30).request("DELETE", f"/{victim}").status
    if not 500 <= status < 600:
        return f"a delete that cannot reach the disk answers {status}"
    for volume, fids in by_volume.items():
        if volume != bad:
            status, text = store.put(fids.pop(), 3000)
            if status != 201:
                return f"volume {volume} is healthy, but an upload answers {status} {text[:200]}"
    fault = store.check("during the fault")
    if fault:
        return fault
    if not os.path.exists(os.path.join(store.server.directory, f"{bad}.dat")):
        return f"volume {bad} was deleted"
    return status_says_why(store.server, bad) or not_handed_out(store.server, bad)


def status_says_why(server, bad):
    volumes = server.status()["Volumes"]
    entry = next((volume for volume in volumes if str(volume["Id"]) == bad), None)
    if not entry or not entry["ReadOnly"]:
        return f"/status does not show volume {bad} as read-only: {entry}"
    reasons = [value for name, value in entry.items() if "eason" in name and value]
    if not reasons:
        return f"/status does not say why volume {bad} is read-only: {entry}"
    say(f"      /status: {reasons[0]}")
    return None


def not_handed_out(server, bad):
    master, deadline = Client(server.master_port, 20), time.monotonic() + 10
    while time.monotonic() < deadline:
        seen = {assign(master)[0].split(",")[0] for _ in range(100)}
        if bad not in seen:
            return None
        time.sleep(0.3)
    return f"ids of the read-only volume {bad} are still handed out after 10 s"


def still_refusing(store, by_volume, bad, is_go):
    """A failed sync is not forgotten when the disk seems well again: only reopening clears it."""
    status, text = store.put(by_volume[bad].pop(), 3000)
    if not is_go and not 500 <= status < 600:
        return (
            f"after a failed write, without reopening, volume {bad} answers {status} {text[:100]}"
        )
    return None


def sync_error(weed, options, seed):
    return io_error(weed, options, seed, mode="sync")


DISK_SCENARIOS = {"disk-full": disk_full, "io-error": io_error, "sync-error": sync_error}
