"""What ill-behaved clients do.

Each scenario returns a fault, or None; `context.note` keeps figures."""

import random
import resource
import select
import time

from harness import assign, multipart
from raw_connection import (
    LINE,
    absent,
    connect,
    drain,
    exchange,
    expect,
    first_fault,
    post_head,
    pour,
    reset,
    status_of,
)


def slow_loris(context):
    links = [connect(context.server.volume_port) for _ in range(context.scale(300))]
    links += [connect(context.server.master_port) for _ in range(context.scale(50))]
    text = b"GET /1,00 HTTP/1.1\r\nHost: slow\r\nX-Slow: " + b"a" * 400
    open_links = len(links)
    end = time.monotonic() + context.seconds(12)
    position = 0
    while time.monotonic() < end and position < len(text):
        for link in links:
            try:
                link.send(text[position : position + 1])
            except OSError:
                pass
        position += 1
        time.sleep(0.25)
    closed = 0
    for link in links:
        ready, _, _ = select.select([link], [], [], 0)
        closed += bool(ready)
        link.close()
    context.note(f"{closed} of {open_links} closed by the server meanwhile")


def slow_bodies(context):
    fids = assign(context.master(), context.scale(100))
    links = []
    for fid in fids:
        link = connect(context.server.volume_port)
        link.sendall(post_head(context, fid, "Content-Length: 100000\r\n") + b"x" * 100)
        links.append(link)
    for _ in range(int(context.seconds(6) * 4)):
        for link in links:
            try:
                link.send(b"y")
            except OSError:
                pass
        time.sleep(0.25)
    for link in links:
        reset(link)
    return first_fault(absent(context, fid) for fid in fids)


def half_closed_uploads(context):
    faults = []
    for form in ("raw", "multipart", "chunked"):
        for fid in assign(context.master(), context.scale(20)):
            if form == "raw":
                data = post_head(context, fid, "Content-Length: 5000\r\n") + b"x" * 2000
            elif form == "chunked":
                data = (
                    post_head(context, fid, "Transfer-Encoding: chunked\r\n")
                    + b"1000\r\n"
                    + b"x" * 2000
                )
            else:
                body, headers = multipart(b"x" * 5000)
                data = (
                    f"POST /{fid} HTTP/1.1\r\nHost: x\r\n"
                    f"Content-Type: {headers['Content-Type']}\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n"
                ).encode() + body[:2000]
            status = exchange(context.server.volume_port, data, half_close=True)
            faults.append(expect(f"half-closed {form} upload", status, {0, 400, 408}))
            faults.append(absent(context, fid))
    return first_fault(faults)


def resets(context):
    fids = assign(context.master(), context.scale(200))
    for fid in fids:
        link = connect(context.server.volume_port)
        link.sendall(post_head(context, fid, "Content-Length: 300000\r\n") + b"z" * 20000)
        reset(link)
    for _ in range(context.scale(200)):
        link = connect(context.server.volume_port)
        link.sendall(f"GET /{context.large_fid} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        reset(link)
    return first_fault(absent(context, fid) for fid in fids)


def huge_headers(context):
    total, most, faults = 100 << 20, 0, []
    forms = {
        "one long header": (b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ", b"h" * 65536),
        "many headers": (b"GET / HTTP/1.1\r\nHost: x\r\n", b"X-Many: 1\r\n" * 6000),
        "a long request line": (b"GET /", b"p" * 65536),
        "a long method": (b"", b"M" * 65536),
        "endless empty lines": (b"", b"\r\n" * 30000),
    }
    for port in (context.server.volume_port, context.server.master_port):
        for name, (head, piece) in forms.items():
            sent, status = pour(port, head, piece, total)
            most = max(most, sent)
            faults.append(expect(f"{name} of 100 MB", status, {0, 400, 413, 414, 431}))
            if sent >= total:
                faults.append(f"{name}: all 100 MB were taken")
    context.note(f"at most {most / 1e6:.1f} MB of 100 MB headers taken before the answer")
    return first_fault(faults)


def too_large_bodies(context):
    size, faults = (context.limit_mb + 1) << 20, []
    piece = b"b" * (1 << 20)
    for chunked in (False, True) * context.scale(40):
        fid = assign(context.master())[0]
        link = connect(context.server.volume_port, timeout=20)
        extra = "Transfer-Encoding: chunked\r\n" if chunked else f"Content-Length: {size}\r\n"
        try:
            link.sendall(post_head(context, fid, extra))
            for _ in range(size >> 20):
                link.sendall(b"100000\r\n" + piece + LINE if chunked else piece)
            if chunked:
                link.sendall(b"0\r\n\r\n")
        except OSError:
            pass
        answer = drain(link, 20)
        status = None if answer is None else status_of(answer)
        link.close()
        faults.append(
            expect(
                f"a body over the limit ({'chunked' if chunked else 'sized'})",
                status,
                {0, 400, 413},
            )
        )
        faults.append(absent(context, fid))
    fid = assign(context.master())[0]
    status = exchange(
        context.server.volume_port, post_head(context, fid, f"Content-Length: {1 << 62}\r\n") + b"x"
    )
    faults.append(expect("a length of 2^62", status, {0, 400, 413, None}))
    faults.append(absent(context, fid))
    return first_fault(faults)


def length_lies(context):
    port, faults = context.server.volume_port, []
    fid = assign(context.master())[0]
    body = (
        post_head(context, fid, "Content-Length: 10\r\n")
        + b"0123456789"
        + b"this is not a request\r\n\r\n"
    )
    link = connect(port)
    link.sendall(body)
    answer = drain(link) or b""
    link.close()
    if status_of(answer) != 201 or answer.count(b"HTTP/1.1 201") != 1:
        faults.append(f"a body longer than its length: {answer[:80]!r}")
    stored = context.volume().request("GET", f"/{fid}").body
    if stored != b"0123456789":
        faults.append(f"a body longer than its length is stored as {stored[:40]!r}")
    for lengths in (
        "Content-Length: -1",
        "Content-Length: 1e3",
        "Content-Length: 0x10",
        "Content-Length: 5, 6",
        "Content-Length: 99999999999999999999999",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: +5",
        "Content-Length: ",
    ):
        fid = assign(context.master())[0]
        status = exchange(
            port,
            post_head(context, fid, lengths + "\r\n") + b"5\r\nhello\r\n0\r\n\r\n",
            half_close=True,
        )
        # With both framings a server may also go by the chunks alone.
        if "chunked" in lengths and status == 201:
            stored = context.volume().request("GET", f"/{fid}").body
            faults.append(None if stored == b"hello" else f"two framings, stored as {stored!r}")
            continue
        faults.append(expect(repr(lengths), status, {0, 400, 413, 501}))
        faults.append(absent(context, fid))
    fid = assign(context.master())[0]
    status = exchange(
        port, post_head(context, fid, "Content-Length: 1000000\r\n") + b"x" * 100, seconds=1
    )
    faults.append(expect("a body shorter than its length", status, {None, 0, 400, 408}))
    faults.append(absent(context, fid))
    return first_fault(faults)


def chunked_garbage(context):
    faults = []
    for body in (
        b"zz\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"ffffffffffffffffff\r\nhello",
        b"7fffffffffffffff\r\nhello",
        b"5\r\nhelloXX0\r\n\r\n",
        b"5;" + b"e" * 100000 + b"\r\nhello\r\n0\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"5 \x00\r\nhello\r\n0\r\n\r\n",
        b"0\r\n" + b"T: x\r\n" * 100000 + b"\r\n",
    ):
        fid = assign(context.master())[0]
        data = post_head(context, fid, "Transfer-Encoding: chunked\r\n") + body
        status = exchange(context.server.volume_port, data, half_close=True)
        allowed = {0, 400, 413, 431}
        # An over-long chunk extension or trailer may also be skipped.
        if body.startswith((b"5;", b"0\r\n")):
            allowed.add(201)
        faults.append(expect(f"chunks {body[:20]!r}", status, allowed))
        if status != 201:
            faults.append(absent(context, fid))
    return first_fault(faults)


def idle_connections(context):
    wanted = context.scale(4000)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, wanted + 200)), hard))
    links, refused = [], 0
    for number in range(wanted):
        port = context.server.master_port if number % 4 == 0 else context.server.volume_port
        try:
            links.append(connect(port))
        except OSError:
            refused += 1
            if refused > 50:
                break
    time.sleep(context.seconds(4))
    context.note(
        f"{len(links)} idle connections open, {refused} refused, "
        f"{context.server.memory()[1] / 1e6:.1f} MB anonymous meanwhile"
    )
    for link in links:
        link.close()


def never_reading(context):
    """Answers that nobody reads: the server must not hold them in memory."""
    before = context.server.memory()[1]
    links = []
    for _ in range(context.scale(64)):
        link = connect(context.server.volume_port, receive_buffer=4096)
        link.sendall(f"GET /{context.large_fid} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        links.append(link)
    request = f"GET /{context.medium_fid} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    for _ in range(context.scale(20)):
        link = connect(context.server.volume_port, receive_buffer=4096)
        link.settimeout(0.5)
        try:
            link.sendall(request * 20000)
        except OSError:
            pass
        links.append(link)
    peak = before
    for _ in range(int(context.seconds(5) * 4)):
        time.sleep(0.25)
        peak = max(peak, context.server.memory()[1])
    for link in links:
        link.close()
    grown = peak - before
    context.note(f"anonymous memory grew by {grown / 1e6:.1f} MB at most")
    return f"grew by {grown / 1e6:.0f} MB" if grown > 96 << 20 else None


def garbage(context):
    generator = random.Random(context.seed)
    hang = 0
    for number in range(context.scale(300)):
        port = context.server.master_port if number % 3 == 0 else context.server.volume_port
        kind = generator.randrange(4)
        if kind == 0:
            data = generator.randbytes(generator.randrange(1, 5000))
        elif kind == 1:
            text = b"GET /%s HTTP/1.1\r\nHost: x\r\nRange: bytes=%s\r\n\r\n"
            data = text % (
                generator.randbytes(20).hex().encode(),
                generator.randbytes(30).hex().encode(),
            )
        elif kind == 2:
            body, _ = multipart(generator.randbytes(500))
            body = bytearray(body)
            for _ in range(5):
                body[generator.randrange(len(body))] = generator.randrange(256)
            fid = context.spare_fid
            data = (
                f"POST /{fid} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; "
                f"boundary={generator.choice(['----weed-tools-5d2f81c7', '', 'x' * 5000])}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            ).encode() + bytes(body)
        else:
            line = generator.choice(
                [
                    b"GET",
                    b"PRI * HTTP/2.0",
                    b"\x16\x03\x01\x02\x00",
                    b"POST / HTTP/9.9",
                    b"GET  HTTP/1.1",
                ]
            )
            data = line + LINE * 2 + generator.randbytes(100)
        hang += exchange(port, data, seconds=2, half_close=True) is None
    return f"{hang} garbage requests got neither an answer nor a close" if hang else None


def bad_forms(context):
    """Multipart bodies that lie about their structure."""
    faults = []
    kind = "multipart/form-data; boundary=B"
    forms = (
        b"",
        b"--B",
        b"--B\r\n\r\n",
        b"--B\r\nContent-Disposition: form-data\r\n\r\nno end",
        b"--B--\r\n",
        b"--B\r\n" + b"X: y\r\n" * 200000,
        b"--B\r\n" + b"X" * 3000000,
        b"preamble" * 100000,
        b'--B\r\nContent-Disposition: form-data; name="a\r\n\r\nx\r\n--B--\r\n',
    )
    for body in forms:
        fid = assign(context.master())[0]
        head = (
            f"POST /{fid} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        status = exchange(context.server.volume_port, head.encode() + body, half_close=True)
        # The last one is odd but readable as a form.
        allowed = {0, 400, 413, 431} | ({201} if body.endswith(b"x\r\n--B--\r\n") else set())
        faults.append(expect(f"form {body[:30]!r}", status, allowed))
    return first_fault(faults)


SCENARIOS = {
    "slow-loris": slow_loris,
    "slow-bodies": slow_bodies,
    "half-closed-uploads": half_closed_uploads,
    "resets": resets,
    "huge-headers": huge_headers,
    "too-large-bodies": too_large_bodies,
    "length-lies": length_lies,
    "chunked-garbage": chunked_garbage,
    "bad-forms": bad_forms,
    "idle-connections": idle_connections,
    "never-reading": never_reading,
    "garbage": garbage,
}
