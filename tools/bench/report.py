"""The tables of a comparison."""
import os
import platform
import statistics
import subprocess


class Row:
    """One measure: the samples of ours and of the original, taken alternately."""

    def __init__(self, title, ours, theirs, unit, goal):
        self.title, self.ours, self.theirs, self.unit, self.goal = title, ours, theirs, unit, goal

    @property
    def faults(self):
        return [s.fault for s in self.ours + self.theirs if s.fault]

    @property
    def ratio(self):
        theirs = statistics.median(s.rate for s in self.theirs)
        return statistics.median(s.rate for s in self.ours) / theirs if theirs else 0

    def cells(self):
        if self.faults:
            return [self.title, spread(self.ours), spread(self.theirs), "invalid: " + self.faults[0], ""]
        verdict = ""
        if self.goal:
            verdict = f"{self.goal:.1f} " + ("reached" if self.ratio >= self.goal else "missed")
        return [self.title, spread(self.ours), spread(self.theirs), f"{self.ratio:.2f}", verdict]


def number(value):
    return f"{value:,.0f}".replace(",", " ")


def spread(samples):
    """min – median – max."""
    rates = [s.rate for s in samples]
    return f"{number(min(rates))} – **{number(statistics.median(rates))}** – {number(max(rates))}"


def latency(samples):
    p50 = statistics.median(s.p50 for s in samples)
    p99 = statistics.median(s.p99 for s in samples)
    return f"{p50:.2f} / {p99:.2f}"


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def machine(directory):
    """What it was measured on."""
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo")
                  if line.startswith("model name")), platform.machine())
    memory = next(int(line.split()[1]) for line in open("/proc/meminfo")) // (1 << 20)
    filesystem = subprocess.run(["df", "--output=fstype", directory],
                                capture_output=True, text=True).stdout.split()[-1]
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True)
    version = (wrk.stdout + wrk.stderr).split("Copyright")[0].strip()
    return [f"- {os.cpu_count()} cores, {model}, {memory} GiB of memory",
            f"- Linux {platform.release()}, data on {filesystem}",
            f"- {version}"]


def document(rows, servers, options, base):
    """docs/benchmarks.md."""
    lines = [
        "# Benchmarks" + (" of separate processes" if options.separate else ""), "",
        f"Written by `tools/bench-compare{' --separate' if options.separate else ''}`;",
        "run it to measure on another machine. Client and servers share",
        "the machine and talk over loopback. The servers are started side by side, each idle while another is",
        f"measured, and take turns: {options.rounds} rounds of {options.seconds} s, wrk with one thread.",
        "Machines are noisy, so each cell shows min – **median** – max, and ratios are ratios of medians.",
        "", "## Machine and versions", ""]
    lines += machine(base)
    seen = []
    for server in servers:
        if server.version not in seen:
            seen.append(server.version)
            lines.append(f"- {server.name}: `{server.version}`")
    lines += ["", "## Requests a second", ""]
    small = [row for row in rows if row.unit == "requests/s"]
    header = ["measure", "ours", "the Go original", "ratio", "goal"]
    lines += table(header, [row.cells() for row in small])
    large = [row for row in rows if row.unit == "MB/s"]
    if large:
        lines += ["", "## Large files, MB a second", ""]
        lines += table(header, [row.cells() for row in large])
    lines += ["", "## Latency in ms, p50 / p99", ""]
    lines += table(["measure", "ours", "the Go original"],
                   [[r.title, latency(r.ours), latency(r.theirs)] for r in small])
    lines += ["", "## Memory", "", "Anonymous memory of each process after all that:", ""]
    lines += [f"- {name}: {megabytes} MB" for name, megabytes in options.memory]
    lines += [
        "", "## What was run", "",
        f"    tools/bench-compare --rounds={options.rounds} --seconds={options.seconds}"
        + (" --separate" if options.separate else ""), "",
        "which starts", ""]
    for server in servers:
        lines += ["    " + shorten(command, base)
                  for command in getattr(server, "commands", [server.command])]
    lines += [
        "", "and drives them with", "",
        "    wrk -t1 -c16|64 -s tools/bench/get.lua http://<server> -- <paths>",
        "    wrk -t1 -c16|64 -s tools/bench/post.lua http://<server> -- <paths> [?fsync=true]", "",
        f"Reads are random over {number(options.files)} files of 1 KB. Every write goes to a file id that was",
        "assigned before and not used yet, spread over the volumes of a fresh collection, with a body no other",
        "write has; after each run 200 of the files that were answered are read back and compared. A row with",
        "an error status in it is invalid. Large files are moved one at a time over a plain socket.", ""]
    return "\n".join(lines)


def shorten(command, base):
    words = [word.replace(base, "$DATA") for word in command]
    words[0] = "weed"
    return " ".join(words)
