"""The Go original's filer and S3 gateway on a cluster of ours, as part of tools/interop."""

import os
import shutil
import time

from cells import check, read, run
from cluster import free_port
from harness import LOOPBACK, Client, say


class Gateways:
    """Cells that the trial takes over; it brings `cluster`, `cell`, `stop` and `options`."""

    # The original's filer and S3 gateway on our servers.

    def filer(self):
        cluster, port = self.cluster_with_filer()
        self.cell("ours, Go filer", lambda: self.filer_objects(port), cluster)
        self.stop("ours, Go filer", cluster)

    def cluster_with_filer(self):
        cluster = self.cluster()
        cluster.start_master("ours")
        cluster.start_volume("ours")
        cluster.start_volume("ours")
        port = free_port()
        directory = os.path.join(cluster.base, "filer")
        os.makedirs(directory)
        arguments = [
            "filer",
            f"-master={cluster.address}",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            f"-port={port}",
            f"-defaultStoreDir={directory}",
        ]
        cluster.start_other("Go filer", arguments, port)
        return cluster, port

    def objects(self, count):
        return {
            f"d{index % 10}/file-{index}.bin": self.rng.randbytes(self.rng.randrange(1, 20_000))
            for index in range(count)
        }

    def filer_objects(self, port):
        client, files = Client(port), self.objects(self.options.objects)
        for name, data in files.items():
            status = client.request("PUT", f"/interop/{name}", data).status
            check(status in (200, 201), f"put of {name} answers {status}")
        for name, data in files.items():
            answer = client.request("GET", f"/interop/{name}")
            check(answer.status == 200 and answer.body == data, f"{name} reads unequal")
        for name in files:
            status = client.request("DELETE", f"/interop/{name}").status
            check(status == 204, f"delete of {name} answers {status}")
        check(client.request("GET", f"/interop/{name}").status == 404, f"{name} is still there")
        return f"{len(files)} files"

    def s3(self):
        cluster, filer = self.cluster_with_filer()
        port = free_port()
        arguments = [
            "s3",
            f"-filer={LOOPBACK}:{filer}",
            f"-ip.bind={LOOPBACK}",
            f"-port={port}",
            "-port.iceberg=0",
            "-port.lance=0",
        ]
        cluster.start_other("Go S3 gateway", arguments, port)
        self.cell("ours, Go S3 gateway", lambda: self.s3_objects(port), cluster)
        if shutil.which("aws"):
            self.cell("ours, Go S3 gateway, awscli", lambda: self.s3_tool(cluster, port), cluster)
        else:
            say("skip  ours, Go S3 gateway, awscli: no aws on the path")
        self.stop("ours, Go S3 gateway", cluster)

    def s3_objects(self, port):
        client, files = Client(port, timeout=60), self.objects(self.options.objects)
        # the gateway needs a moment to find its filer
        deadline = time.monotonic() + 20
        while (status := client.request("PUT", "/interop").status) != 200:
            check(time.monotonic() < deadline, f"making a bucket answers {status}")
            time.sleep(0.2)
        for name, data in files.items():
            answer = client.request("PUT", f"/interop/{name}", data)
            check(answer.status == 200, f"put of {name}: {answer.status} {answer.body[:200]!r}")
        listed, token = 0, ""
        while True:
            answer = client.request("GET", f"/interop?list-type=2&max-keys=300{token}").body.decode()
            listed += answer.count("<Key>")
            mark = answer.partition("<NextContinuationToken>")[2].partition("<")[0]
            if not mark:
                break
            token = "&continuation-token=" + mark.replace("/", "%2F").replace("=", "%3D")
        check(listed == len(files), f"{listed} of {len(files)} objects are listed")
        for name, data in files.items():
            answer = client.request("GET", f"/interop/{name}")
            check(answer.status == 200 and answer.body == data, f"{name} reads unequal")
        for name in files:
            status = client.request("DELETE", f"/interop/{name}").status
            check(status == 204, f"delete of {name} answers {status}")
        status = client.request("DELETE", "/interop").status
        check(status == 204, f"delete of the bucket answers {status}")
        return f"{len(files)} objects"

    def s3_tool(self, cluster, port):
        files, source = self.objects(self.options.objects), os.path.join(cluster.base, "source")
        target = os.path.join(cluster.base, "target")
        for name, data in files.items():
            path = os.path.join(source, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
        aws = ["aws", "--no-sign-request", "--region", "us-east-1"]
        aws += ["--endpoint-url", f"http://{LOOPBACK}:{port}", "s3"]
        run([*aws, "mb", "s3://tool"])
        run([*aws, "cp", "--quiet", "--recursive", source, "s3://tool/"], seconds=300)
        listed = run([*aws, "ls", "--recursive", "s3://tool/"]).splitlines()
        check(len(listed) == len(files), f"{len(listed)} of {len(files)} objects are listed")
        run([*aws, "cp", "--quiet", "--recursive", "s3://tool/", target], seconds=300)
        for name, data in files.items():
            check(read(os.path.join(target, name)) == data, f"{name} reads unequal")
        run([*aws, "rm", "--quiet", "--recursive", "s3://tool/"], seconds=300)
        check(not run([*aws, "ls", "--recursive", "s3://tool/"], expect=None).strip(), "some left")
        run([*aws, "rb", "s3://tool"])
        return f"{len(files)} objects"
