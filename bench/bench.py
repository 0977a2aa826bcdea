"""Springhouse's benchmark: CPU microseconds per request, beside nginx and Varnish doing the same in the same run.

    python bench/bench.py                                   every scenario, some minutes
    python bench/bench.py --scenarios hit,fill --seconds 2
    python bench/bench.py --against '../old/.venv/bin/springhouse serve --origin {origin} --port {port}'
    python bench/bench.py --profile hit

bench/README.md says what is measured, why, and how to read it. Exits with 0 if every request was answered as it
should have been, 1 if not, 2 if the benchmark could not be run.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import pstats
import shlex
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NoReturn

from load import SCENARIOS, LoadError, Scenario, prepare, run, served
from servers import PEERS, Fleet, Server, ServerError, end, find, start_origin, start_springhouse

if TYPE_CHECKING:
    from collections.abc import Callable

OURS, OTHER = "springhouse", "against"
COLUMNS = {
    "scenario": 10,
    "proxy": 12,
    "cpu µs/request": 15,
    "vs nginx": 10,
    "vs against": 12,
    "req/s": 9,
    "p99 ms": 9,
    "errors": 8,
}
PROGRAMS = {"nginx": "nginx-light", "wrk": "wrk", "taskset": "util-linux"}


class Options(argparse.Namespace):
    """The command line."""

    scenarios: list[str]
    peers: list[str]
    peers_only: bool
    seconds: int
    rounds: int
    connections: int
    json: Path | None
    serve: str
    against: str
    profile: str


@dataclass(frozen=True, slots=True)
class Run:
    """The figures of one run."""

    cpu_us: float
    requests_per_s: float
    p99_ms: float
    errors: int


@dataclass(slots=True)
class Row:
    """One proxy in one scenario, all rounds."""

    scenario: str
    proxy: str
    runs: list[Run] = field(default_factory=list)
    trouble: str = ""

    def median(self, figure: str) -> float:
        """The median of a figure over the rounds; NaN without any."""
        return median(getattr(run, figure) for run in self.runs) if self.runs else math.nan

    @property
    def errors(self) -> int:
        """Requests that were not answered, or not from where they should have been, in all rounds."""
        return sum(run.errors for run in self.runs)


def main() -> int:
    """Run the benchmark and return the exit code."""
    options = read_options()
    if missing := missing_programs():
        print(missing, file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
            signal.signal(number, _terminated)
    try:
        with Fleet() as fleet:
            return profile(fleet, options) if options.profile else compare(fleet, options)
    except ServerError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def read_options() -> Options:
    """Read the command line."""
    listing = "\n".join(f"  {name:9}{scenario.what}" for name, scenario in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"scenarios:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    scenarios, peers = list(SCENARIOS), list(PEERS)
    add("--scenarios", type=_some_of(scenarios), default=scenarios, metavar="A,B,…", help="default: all")
    add("--peers", type=_some_of(peers), default=peers, metavar="A,B,…", help="default: nginx,varnish; '' for none")
    add("--peers-only", action="store_true", help="leave springhouse itself out")
    add("--seconds", type=_positive, default=4, help="length of a run (%(default)s)")
    add("--rounds", type=_positive, default=3, help="runs per scenario and proxy (%(default)s)")
    add("--connections", type=_positive, default=64, help="at most, large bodies get fewer (%(default)s)")
    add("--json", type=Path, metavar="FILE", help="also write every figure of every run to FILE")
    add("--serve", default="", metavar="OPTIONS", help="further options for springhouse serve; {folder} is temporary")
    add("--against", default="", metavar="COMMAND", help="another springhouse; {origin} and {port} are filled in")
    add("--profile", choices=scenarios, default="", metavar="SCENARIO", help="springhouse alone, under cProfile")
    options = parser.parse_args(namespace=Options())
    if options.against and "{port}" not in options.against:
        parser.error("--against: the command needs {port}, and probably {origin}")
    if options.json and not options.json.absolute().parent.is_dir():
        parser.error(f"--json: there is no folder {options.json.parent}")
    return options


def missing_programs() -> str:
    """What to install before anything can be measured, or ''."""
    if not Path("/proc/self/stat").exists():
        return "bench: CPU time is read from /proc: this needs Linux"
    missing = [program for program in PROGRAMS if not find(program)]
    packages = " ".join(PROGRAMS[program] for program in missing)
    return f"bench: {', '.join(missing)} not found; on Debian: apt-get install {packages}" if missing else ""


def compare(fleet: Fleet, options: Options) -> int:
    """Measure every proxy in every scenario, tell the figures as they come, and return the exit code."""
    origin = start_origin(fleet)
    proxies = start_proxies(fleet, origin, options)
    columns = {title: width for title, width in COLUMNS.items() if options.against or title != "vs against"}
    cpus = f"proxies on CPU {fleet.proxy_cpu}, load and origin on CPU {fleet.load_cpu}"
    print(f"rounds: {options.rounds} of {options.seconds} s; {cpus}\n")
    show({title: title for title in columns}, columns)
    rows = []
    for name in options.scenarios:
        measured = measure(fleet, name, proxies, origin, options)
        for row in measured:
            show(cells(row, measured), columns)
            rows.append(row)
    if options.json:
        options.json.write_text(report(options, rows))
    return int(any(row.trouble or row.errors for row in rows))


def start_proxies(fleet: Fleet, origin: Server, options: Options) -> list[Server]:
    """Start what is to be measured; a peer that cannot run is left out, a springhouse that cannot is an error."""
    proxies = []
    for peer in options.peers:
        try:
            proxies.append(PEERS[peer](fleet, origin))
        except ServerError as error:
            print(f"bench: without {peer}: {error}", file=sys.stderr)
    if options.against:
        proxies.append(start_springhouse(fleet, OTHER, options.against, origin))
    if not options.peers_only:
        proxies.append(start_springhouse(fleet, OURS, our_command(options), origin))
    return proxies


def our_command(options: Options) -> str:
    """The springhouse beside the Python that runs this."""
    program = shlex.quote(str(Path(sys.executable).with_name("springhouse")))
    return f"{program} serve --origin {{origin}} --port {{port}} {options.serve}"


def measure(fleet: Fleet, name: str, proxies: list[Server], origin: Server, options: Options) -> list[Row]:
    """All rounds of one scenario: the proxies take turns, every other round in reverse."""
    scenario = SCENARIOS[name]
    rows = [Row(name, proxy.name) for proxy in proxies]
    turns = list(zip(rows, proxies, strict=True))
    for _ in range(options.rounds):
        for row, proxy in turns:
            row.trouble = row.trouble or prepare(scenario, proxy, origin)
            if row.trouble:
                continue
            try:
                row.runs.append(run_once(fleet, scenario, proxy, origin, options))
            except LoadError as error:
                row.trouble = str(error)
        turns.reverse()
    return rows


def run_once(fleet: Fleet, scenario: Scenario, proxy: Server, origin: Server, options: Options) -> Run:
    """One run; what the origin had to do meanwhile tells whether the proxy answered from where it should."""
    served_before, cpu_before = served(origin), proxy.cpu_seconds()
    load = run(fleet, scenario, proxy, seconds=options.seconds, connections=options.connections)
    cpu_seconds, fetched = proxy.cpu_seconds() - cpu_before, served(origin) - served_before - 1
    astray = fetched if scenario.hits else max(0, load.requests - fetched)
    return Run(
        cpu_us=1e6 * cpu_seconds / load.requests,
        requests_per_s=load.requests / load.seconds,
        p99_ms=load.p99_ms,
        errors=load.errors + astray,
    )


def cells(row: Row, scenario_rows: list[Row]) -> dict[str, str]:
    """A row of the table, given all rows of its scenario."""
    cpu = {other.proxy: other.median("cpu_us") for other in scenario_rows}
    return {
        "scenario": row.scenario,
        "proxy": row.proxy,
        "cpu µs/request": _number(cpu[row.proxy]),
        "vs nginx": _number(cpu[row.proxy] / cpu.get("nginx", math.nan)),
        "vs against": _number(cpu[row.proxy] / cpu.get(OTHER, math.nan)),
        "req/s": _number(row.median("requests_per_s"), 0),
        "p99 ms": _number(row.median("p99_ms")),
        "errors": row.trouble or str(row.errors),
    }


def show(row: dict[str, str], columns: dict[str, int]) -> None:
    """Print one line of the table: words to the left, figures to the right."""
    words = ("scenario", "proxy")
    line = [f"{row[title]:{'<' if title in words else '>'}{width}}" for title, width in columns.items()]
    print("".join(line[:-1]) + ("  " + row["errors"] if " " in row["errors"] else line[-1]), flush=True)


def report(options: Options, rows: list[Row]) -> str:
    """Everything there is to know about this benchmark, as JSON."""
    facts = {
        "at": time.strftime("%FT%TZ", time.gmtime()),
        "machine": platform.platform(),
        "cpus": os.cpu_count(),
        "options": {key: value for key, value in vars(options).items() if key != "json"},
        "rows": [asdict(row) | {"median_cpu_us": row.median("cpu_us") if row.runs else None} for row in rows],
    }
    return json.dumps(facts, indent=1, allow_nan=False) + "\n"


def profile(fleet: Fleet, options: Options) -> int:
    """One scenario against springhouse alone, under cProfile, and where its time went."""
    found = fleet.folder / "profile"
    origin = start_origin(fleet)
    command = f"{shlex.quote(sys.executable)} -m cProfile -o {found} {our_command(options)}"
    proxy = start_springhouse(fleet, OURS, command, origin)
    row = measure(fleet, options.profile, [proxy], origin, options)[0]
    end(proxy.process)
    print(row.trouble or f"{options.profile}: {row.median('cpu_us'):.1f} µs/request, cProfile's own cost included")
    if not found.exists():
        print("bench: springhouse left no profile behind when it was ended", file=sys.stderr)
        return 2
    pstats.Stats(str(found)).sort_stats("tottime").print_stats(30)
    return int(bool(row.trouble or row.errors))


def _number(value: float, digits: int = 2) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def _some_of(known: list[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is not among {', '.join(known)}")
        return names

    return parse


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def _terminated(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
