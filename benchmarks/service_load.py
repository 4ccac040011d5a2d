"""The sidecar under load, beside the same model called in-process: requests a second, p50 and p99, errors, memory.

    python benchmarks/service_load.py                                  # 10,000 requests of 50 clients
    python benchmarks/service_load.py --model mini --requests 1000
    python benchmarks/service_load.py --minutes 30                     # memory over time

The sidecar is a process of its own; clients and sidecar share this machine's processors. Diaries are those of
data/corpus/validation.jsonl, in turn.
"""

import argparse
import json
import platform
import re
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any

from clario import __version__
from clario.pipeline import Clario

DIARIES = Path(__file__).resolve().parent.parent / "data" / "corpus" / "validation.jsonl"
DOCUMENTED = frozenset({413, 422, 429, 503})
_SAMPLE_SECONDS = 5.0


@dataclass
class Load:
    """What clients met: seconds of each answer, and how many of each status (0: no answer)."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)


@contextmanager
def sidecar(model: str) -> Iterator[tuple[int, int]]:
    """A sidecar of its own process: its process id and port."""
    code = "from clario.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", "--model", model, "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    found = re.search(r":(\d+)$", process.stderr.readline().strip())
    if not found:
        raise SystemExit("the sidecar did not start")
    # Its log must be read, or it waits for whoever does.
    reader = threading.Thread(target=lambda: [None for _ in process.stderr or ()], daemon=True)
    reader.start()
    try:
        yield process.pid, int(found[1])
    finally:
        process.terminate()
        process.wait(60)


def client(port: int, bodies: Iterator[bytes], until: float, load: Load) -> None:
    """Send one request after the other on one connection."""
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    for body in bodies:
        if time.monotonic() > until:
            break
        began = time.perf_counter()
        try:
            connection.request("POST", "/extract", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except OSError:
            status = 0
            connection.close()
        load.seconds.append(time.perf_counter() - began)
        load.statuses[status] += 1
    connection.close()


def loaded(port: int, texts: Sequence[str], requests: int | None, clients: int, minutes: float | None) -> Load:
    """Let clients share so many requests, or send them for so many minutes."""
    until = time.monotonic() + minutes * 60 if minutes else float("inf")
    loads = [Load() for _ in range(clients)]
    with ThreadPoolExecutor(clients) as pool:
        for n, load in enumerate(loads):
            share = islice(count(n, clients), None if requests is None else len(range(n, requests, clients)))
            bodies = (json.dumps({"diary": texts[k % len(texts)]}).encode() for k in share)
            pool.submit(client, port, bodies, until, load)
    whole = Load()
    for load in loads:
        whole.seconds += load.seconds
        whole.statuses += load.statuses
    return whole


@contextmanager
def memory_of(pid: int) -> Iterator[list[float]]:
    """The resident memory of a process in MB, every five seconds and at the end; empty where /proc is not."""
    samples, done = list[float](), threading.Event()

    def watch() -> None:
        while not done.wait(_SAMPLE_SECONDS):
            samples.extend(resident(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield samples
    finally:
        done.set()
        thread.join()
        samples.extend(resident(pid))


def resident(pid: int) -> list[float]:
    """The resident memory of a process in MB, where the system tells."""
    try:
        status = Path(f"/proc/{pid}/status").read_text("ascii")
    except OSError:
        return []
    return [int(kilobytes) / 1024 for kilobytes in re.findall(r"VmRSS:\s+(\d+)", status)]


def in_process(model: str, texts: Sequence[str], most: int) -> float:
    """Texts a second of the same model in this process, in the batches that it likes."""
    clario = Clario(model)
    clario.extract(texts[0])
    chosen = list(islice(cycle(texts), most))
    began = time.perf_counter()
    for _ in clario.extract_many(chosen):
        pass
    return len(chosen) / (time.perf_counter() - began)


def report(load: Load, seconds: float, samples: Sequence[float], alone: float, model: str) -> dict[str, Any]:
    """The figures."""
    marks = statistics.quantiles(load.seconds, n=100)
    wrong = {status: n for status, n in load.statuses.items() if status != 200 and status not in DOCUMENTED}
    return {
        "clario": __version__,
        "python": platform.python_version(),
        "model": model,
        "requests": len(load.seconds),
        "seconds": round(seconds, 1),
        "requests_per_second": round(len(load.seconds) / seconds, 1),
        "in_process_per_second": round(alone, 1),
        "p50_ms": round(marks[49] * 1000, 1),
        "p99_ms": round(marks[98] * 1000, 1),
        "statuses": {str(status): n for status, n in sorted(load.statuses.items())},
        "undocumented_errors": sum(wrong.values()),
        "memory_mb": {
            "first": _at(samples, 0),
            "middle": _at(samples, len(samples) // 2),
            "last": _at(samples, -1),
        },
    }


def _at(samples: Sequence[float], position: int) -> float | None:
    return round(samples[position], 1) if samples else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures as JSON; 1 where an answer was an error that is not documented."""
    parser = argparse.ArgumentParser(description="The sidecar under load.")
    parser.add_argument("--model", default="lexicon")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--minutes", type=float, help="send requests for so long, not a number of them")
    given = parser.parse_args(arguments)
    texts = [json.loads(line)["text"] for line in DIARIES.read_text("utf-8").splitlines()]
    alone = in_process(given.model, texts, min(given.requests, 500))
    with sidecar(given.model) as (pid, port), memory_of(pid) as samples:
        loaded(port, texts, given.clients, given.clients, None)  # what is loaded late is loaded now
        began = time.perf_counter()
        load = loaded(port, texts, None if given.minutes else given.requests, given.clients, given.minutes)
        seconds = time.perf_counter() - began
    figures = report(load, seconds, samples, alone, given.model)
    print(json.dumps(figures, indent=1))
    return 1 if figures["undocumented_errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
