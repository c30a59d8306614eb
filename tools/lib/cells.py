"""What a cell of a trial is made of: commands, conditions, and a fault that says why."""

import subprocess

COMMAND_SECONDS = 120


class Fault(Exception):
    """Why a cell fails."""


def run(command, seconds=COMMAND_SECONDS, expect=0):
    """Runs a program; its standard output."""
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=seconds, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise Fault(f"{' '.join(command[:2])}: not done after {seconds} s") from None
    output = done.stdout.decode("utf-8", "replace")
    if expect is not None and done.returncode != expect:
        said = (output + done.stderr.decode("utf-8", "replace")).strip()[-400:]
        raise Fault(f"{' '.join(command[:3])}: exit {done.returncode}: {said}")
    return output


def check(condition, what):
    if not condition:
        raise Fault(what)


def read(path):
    with open(path, "rb") as file:
        return file.read()
