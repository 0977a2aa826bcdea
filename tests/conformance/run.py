"""Owns the conformance run: http-cache-tests, unmodified, against the real proxy.

    python tests/conformance/run.py                    the whole suite; exit 1 on a regression or below a threshold
    python tests/conformance/run.py --suite released   the edition on npm, though the newest is there; or a folder
    python tests/conformance/run.py --update           the whole suite, and what was seen becomes the baseline
    python tests/conformance/run.py --id TEST          one test, with every request and response it made
    python tests/conformance/run.py --command 'varnishd -j none -F -n {dir} -a 127.0.0.1:{port} -b {origin_address}'
                                                       another proxy with the same harness; nothing is compared

How it works: the suite's origin and the proxy listen on free ports; the suite's client talks to the proxy and prints
raw results; `judge.mjs` has the suite itself turn them into outcomes. A required or optimal test has passed only when
the suite says so; one it cannot judge, because its setup or a test it depends on failed, is *excluded*. The strict
share counts those as not passed, and the thresholds apply to it: all that is required in the newest edition
(`suites.py`), which is run where it is found; else the release, as package-lock.json pins it. Checks ("does the cache
...?") are yes or no, and neither is better; the baseline holds them too, so that a change of behaviour is seen.

The settings are the bare standard's. That a stale response may stand in for a broken origin is needed for tests which
ask whether it does so where that is forbidden.

Ages and pauses make a rare test fail by chance: one that fails against the baseline is run once more, alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from servers import NoRunError, free_ports, serving
from suites import HERE, MODULES, NEWEST, Suite, committed, released

INSTALLED = MODULES / ".package-lock.json"  # npm writes it last
SPRINGHOUSE = str(Path(sysconfig.get_path("scripts")) / "springhouse")
SERVE = [SPRINGHOUSE, "serve", "--origin", "{origin}", "--port", "{port}", "--ttl", "0", "--set-cookie", "store",
         "--stale-if-error", "60"]  # fmt: skip
KINDS = ("required", "optimal")
GOOD = ("pass", "yes")
JUDGED = ("pass", "fail", "yes", "no")
MOST_RERUNS = 20  # more failures than this are not chance
SUITE_SECONDS = 600

Results = dict[str, Any]  # test id -> True, or [error name, message]


@dataclass(frozen=True)
class Verdict:
    """What the suite says of one test."""

    id: str
    kind: str
    name: str
    outcome: str
    message: str


def install() -> None:
    """Install the released suite, and what the newest needs, exactly as package-lock.json pins them."""
    pinned = (HERE / "package-lock.json").stat().st_mtime
    if INSTALLED.exists() and INSTALLED.stat().st_mtime >= pinned:
        return
    if subprocess.run(["npm", "ci"], cwd=HERE, check=False).returncode:
        raise NoRunError("npm ci failed")


def suite_env(**config: str) -> dict[str, str]:
    """Return the environment in which npm would run the suite's scripts with these settings."""
    return os.environ | {f"npm_config_{name}": value for name, value in config.items()} | {"npm_package_config_id": ""}


def run_client(suite: Suite, base: str, test_id: str = "") -> str:
    """Run the suite, or one test of it, through the proxy at `base`; return what its client printed."""
    command = ["node", "--no-warnings", suite.program("cli.mjs")]
    env = suite_env(base=base, id=test_id)
    try:
        done = subprocess.run(
            command, cwd=suite.folder, env=env, capture_output=True, text=True, timeout=SUITE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NoRunError(f"the suite's client did not end within {SUITE_SECONDS} s") from error
    if done.returncode or not done.stdout.strip():
        raise NoRunError(f"the suite's client failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def run_one(suite: Suite, base: str, test_id: str) -> tuple[bool, str]:
    """Run one test; return whether it passed (dependencies aside), and its transcript."""
    transcript = run_client(suite, base, test_id)
    return transcript.rstrip().splitlines()[-1].startswith(("✅", "Y")), transcript


def judge(suite: Suite, results: Results) -> list[Verdict]:
    """Return the suite's verdicts, without those on tests that are obsolete."""
    done = subprocess.run(
        ["node", "--no-warnings", str(HERE / "judge.mjs"), str(suite.folder)],
        cwd=HERE, input=json.dumps(results), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise NoRunError(f"judge.mjs failed:\n{done.stderr}")
    verdicts = [Verdict(**verdict) for verdict in json.loads(done.stdout)]
    unknown = suite.obsolete.keys() - {verdict.id for verdict in verdicts}
    if unknown:
        raise NoRunError(f"the suite has no test {', '.join(sorted(unknown))}, which is said to be obsolete")
    return [verdict for verdict in verdicts if verdict.id not in suite.obsolete]


def run_again(suite: Suite, base: str, results: Results, baseline: dict[str, str]) -> None:
    """Give each test that fails against the baseline a second, lonely chance; correct `results` where it passes."""
    suspects = [test for test, result in results.items() if result is not True and baseline.get(test) in GOOD]
    if len(suspects) > MOST_RERUNS:
        print(f"{len(suspects)} tests fail against the baseline: too many for chance, none is run again")
        return
    for test in suspects:
        passed, _ = run_one(suite, base, test)
        print(f"ran {test} again, alone: {'passed' if passed else 'failed again'}")
        if passed:
            results[test] = True


def passes(verdicts: list[Verdict]) -> int:
    return sum(verdict.outcome == "pass" for verdict in verdicts)


def percent(verdicts: list[Verdict]) -> float:
    return 100 * passes(verdicts) / max(1, len(verdicts))


def print_report(suite: Suite, verdicts: list[Verdict]) -> None:
    print(f"http-cache-tests, {suite.name}\n")
    for kind in KINDS:
        these = [verdict for verdict in verdicts if verdict.kind == kind]
        judged = [verdict for verdict in these if verdict.outcome in JUDGED]
        shares = [f"{passes(some)}/{len(some)} {percent(some):5.1f} %" for some in (judged, these)]
        print(f"{kind:9} {shares[0]}   {len(these) - len(judged)} excluded   strict {shares[1]}")
    checks = [verdict.outcome for verdict in verdicts if verdict.kind == "check"]
    yes, no = checks.count("yes"), checks.count("no")
    print(f"{'check':9} {yes} yes, {no} no   {len(checks) - yes - no} excluded\n\nnot passed:")
    for verdict in verdicts:
        if verdict.kind in KINDS and verdict.outcome != "pass":
            print(f"  {verdict.kind:9} {verdict.outcome:10} {verdict.id:50} {verdict.message}")
    for test, why in suite.obsolete.items():
        print(f"  obsolete             {test:50} {why}")


def faults(suite: Suite, verdicts: list[Verdict], baseline: dict[str, str]) -> list[str]:
    """Return what must not be: tests that used to pass, and kinds below their threshold."""
    found = []
    for verdict in verdicts:
        before = baseline.get(verdict.id, "absent")
        if before in GOOD and verdict.outcome not in GOOD:
            found.append(f"regression: {verdict.id} was {before}, is {verdict.outcome} {verdict.message}".rstrip())
    for kind, least in suite.thresholds.items():
        strict = percent([verdict for verdict in verdicts if verdict.kind == kind])
        if strict < least:
            found.append(f"below the threshold: {kind} {strict:.1f} % strict, {least:.0f} % wanted")
    return found


def run_suite(suite: Suite, base: str, options: argparse.Namespace) -> int:
    """Run every test, print the report, compare with the baseline; return the exit status."""
    comparing = not options.command
    baseline: dict[str, str] = json.loads(suite.baseline.read_text()) if comparing and suite.baseline.exists() else {}
    if comparing and not baseline:
        print("no baseline yet: only the thresholds can be missed; --update makes one\n")
    results: Results = json.loads(run_client(suite, base))
    run_again(suite, base, results, baseline)
    verdicts = judge(suite, results)
    print_report(suite, verdicts)
    if options.json:
        options.json.write_text(json.dumps([asdict(verdict) for verdict in verdicts], indent=1) + "\n")
    if options.update:
        baseline = {verdict.id: verdict.outcome for verdict in verdicts}
        suite.baseline.write_text(json.dumps(baseline, indent=1, sort_keys=True) + "\n")
    found = faults(suite, verdicts, baseline) if comparing else []
    better = [one.id for one in verdicts if baseline.get(one.id, "pass") not in GOOD and one.outcome in GOOD]
    print("", *found, *(f"better than the baseline: {test}; take it with --update" for test in better), sep="\n")
    counted = [verdict for verdict in verdicts if verdict.kind in KINDS]
    print(f"conformance: {passes(counted)} passed, {len(counted) - passes(counted)} failed")
    return 1 if found else 0


def run_single(suite: Suite, base: str, test_id: str) -> int:
    if test_id not in suite.obsolete and test_id not in (verdict.id for verdict in judge(suite, {})):
        raise NoRunError(f"the suite has no test {test_id!r} for proxies")
    passed, transcript = run_one(suite, base, test_id)
    print(f"{transcript}conformance: {int(passed)} passed, {int(not passed)} failed")
    return int(not passed)


def find(wanted: str, folder: Path) -> Suite:
    """Return the edition wanted; without a wish the newest, if it is there, else the released one."""
    if wanted == "released" or (not wanted and not NEWEST.is_dir()):
        return released()
    source = Path(wanted).resolve() if wanted and wanted != "newest" else NEWEST
    if not (source / "test-engine").is_dir():
        raise NoRunError(f"{source} is not the repository of http-cache-tests")
    return committed(source, folder / "suite")


def run(options: argparse.Namespace) -> int:
    install()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="conformance-")))
        suite = find(options.suite, folder)
        origin_port, port = free_ports(2)
        server = ["node", "--no-warnings", suite.program("server/server.mjs")]
        server_env = suite_env(protocol="http", port=str(origin_port), pidfile=str(folder / "origin.pid"))
        stack.enter_context(serving(server, origin_port, folder, server_env))
        origin = f"127.0.0.1:{origin_port}"
        words = {"origin": f"http://{origin}", "origin_address": origin, "port": port, "dir": folder}
        proxy = [word.format(**words) for word in (shlex.split(options.command) if options.command else SERVE)]
        plain_env = {k: v for k, v in os.environ.items() if not k.startswith("SPRINGHOUSE_") and k != "CACHE_TTL"}
        stack.enter_context(serving(proxy, port, folder, plain_env))
        base = f"http://127.0.0.1:{port}"
        return run_single(suite, base, options.id) if options.id else run_suite(suite, base, options)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run http-cache-tests against Springhouse.")
    parser.add_argument("--suite", metavar="WHICH", default="", help="newest, released, or the suite's repository")
    parser.add_argument("--update", action="store_true", help="make what was seen the baseline")
    parser.add_argument("--id", metavar="TEST", help="run one test and show its requests and responses")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every verdict to FILE")
    parser.add_argument("--command", metavar="CMD", help="another proxy; {origin}, {origin_address}, {port}, {dir}")
    options = parser.parse_args()
    if options.update and (options.id or options.command):
        parser.error("--update needs the whole suite and our own proxy")
    return options


def main() -> int:
    options = read_options()
    missing = [tool for tool in ("node", "npm") if not shutil.which(tool)]
    if missing:
        print(f"conformance: skipped, {' and '.join(missing)} not found (Node.js 18 or newer brings both)")
        return 1 if os.environ.get("CI") == "true" else 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended then too
    try:
        return run(options)
    except NoRunError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
