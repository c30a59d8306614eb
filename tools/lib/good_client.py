"""A well-behaved client in a process of its own, which remembers how it fared."""

import hashlib
import multiprocessing
import random
import time

from harness import Client, assign, percentiles, upload

PAUSE_SECONDS = 0.002


class GoodClient:
    def __init__(self, server, seed):
        self.server, self.seed = server, seed
        context = multiprocessing.get_context("fork")
        self.stop, self.results = context.Event(), context.Queue()
        self.process = context.Process(target=self._run, daemon=True)

    def __enter__(self):
        self.process.start()
        return self

    def __exit__(self, *_):
        if self.process.is_alive():
            self.stop.set()
            self.samples, self.faults = self.results.get(timeout=60)
            self.process.join()

    def _run(self):
        generator = random.Random(self.seed)
        samples, faults, known = [], [], {}
        master = Client(self.server.master_port, 10)
        volume = Client(self.server.volume_port, 10)
        while not self.stop.is_set() or not samples:
            started = time.monotonic()
            try:
                self._step(generator, master, volume, known, faults)
            except Exception as error:  # every kind of failure is one the client noticed
                faults.append(f"{type(error).__name__}: {error}")
            samples.append(time.monotonic() - started)
            if len(faults) > 20:
                break
            time.sleep(PAUSE_SECONDS)
        self.results.put((samples, faults))

    def _step(self, generator, master, volume, known, faults):
        if not known or generator.random() < 0.1:
            fid, data = assign(master)[0], generator.randbytes(1000)
            answer = upload(volume, fid, data)
            if answer.status != 201:
                faults.append(f"upload answers {answer.status} {answer.body[:100]!r}")
                return
            known[fid] = hashlib.sha256(data).digest()
        else:
            fid = generator.choice(list(known))
            answer = volume.request("GET", f"/{fid}")
            if answer.status != 200 or hashlib.sha256(answer.body).digest() != known[fid]:
                faults.append(f"read of {fid} answers {answer.status}")

    def report(self):
        return (
            f"good client: {len(self.samples)} requests, {len(self.faults)} failed, "
            f"{percentiles(self.samples)}"
        )
