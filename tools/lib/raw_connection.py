"""Raw connections for ill-behaved clients."""

import select
import socket
import struct

from harness import LOOPBACK, Client

LINE = b"\r\n"


def connect(port, receive_buffer=None, timeout=10):
    link = socket.socket()
    if receive_buffer:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    link.settimeout(timeout)
    link.connect((LOOPBACK, port))
    return link


def reset(link):
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    link.close()


def drain(link, seconds=10):
    """What comes until the peer closes; None when it neither answers nor closes in time."""
    link.settimeout(seconds)
    data = b""
    try:
        while len(data) < 1 << 20:
            piece = link.recv(65536)
            if not piece:
                return data
            data += piece
            if b"\r\n\r\n" in data and b"onnection: close" not in data:
                link.settimeout(0.3)
    except socket.timeout:
        return data or None
    except OSError:
        return data
    return data


def status_of(data):
    return int(data.split(b" ", 2)[1]) if data.startswith(b"HTTP/1.") else 0


def exchange(port, data, seconds=10, half_close=False):
    """Sends bytes on a connection of its own; the status (0: closed without one, None: hangs)."""
    link = connect(port)
    try:
        try:
            link.sendall(data)
            if half_close:
                link.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        answer = drain(link, seconds)
        return None if answer is None else status_of(answer)
    finally:
        link.close()


def post_head(context, fid, extra):
    return (
        f"POST /{fid} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n{extra}\r\n"
    ).encode()


def expect(what, status, allowed):
    if status not in allowed:
        shown = "hangs" if status is None else f"answers {status}"
        return f"{what} {shown}, expected one of {sorted(allowed)} (0 is a clean close)"
    return None


def first_fault(faults):
    return next((fault for fault in faults if fault), None)


def absent(context, fid):
    """Nothing may have been stored under a refused upload's id."""
    status = Client(context.server.volume_port, 10).request("GET", f"/{fid}").status
    return None if status == 404 else f"a refused upload is readable: {fid} answers {status}"


def pour(port, head, piece, total):
    """Sends a piece again and again; how much the server took, and what it answered."""
    link = connect(port)
    sent = 0
    answer = b""
    try:
        link.sendall(head)
        while sent < total:
            sent += link.send(piece)
            ready, _, _ = select.select([link], [], [], 0)
            if ready:
                break
    except OSError:
        pass
    try:
        answer = drain(link, 5) or b""
    finally:
        link.close()
    return sent, status_of(answer)
