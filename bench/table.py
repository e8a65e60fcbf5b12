"""Which rounds are run, in which order, and how their medians are printed."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from bench.peer import Missing
from bench.peers import peer
from bench.rounds import SINGLES, measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.peer import Options
    from bench.rounds import Figures

OURS = "hitl"
IDLE_S = 5.0
FAILURES = (Missing, TimeoutError, RuntimeError, OSError)

type Where = Literal["inside", "apart", "two"]
"""Decided in the worker's process; in another; in each of two workers."""


class Plan(Struct, frozen=True):
    """What is measured."""

    peers: tuple[str, ...]
    sizes: tuple[int, ...]
    rounds: int
    patience_s: float


class Case(Struct, frozen=True):
    """One peer, one number of blocked runs, one way to decide."""

    peer: str
    blocked: int
    where: Where


class Results:
    """What each case gave, round by round, and why others gave nothing."""

    def __init__(self) -> None:
        self.figures: dict[Case, list[Figures]] = {}
        self.ratios: dict[Case, list[float]] = {}
        """Ours to the peer's, decisions a second, round by round."""
        self.missing: dict[str, str] = {}
        self.left_out: dict[Case, str] = {}

    def median(self, case: Case, figure: str) -> float | None:
        """Return the median of a figure."""
        found = self.figures.get(case)
        return statistics.median(getattr(each, figure) for each in found) if found else None


def measure_all(plan: Plan, options: Options, results: Results, say: Callable[[str], None]) -> None:
    """Run every case of the plan in rounds; ours is run again before each peer of the smallest size."""
    wheres: tuple[Where, ...] = ("inside", "apart", "two")
    for turn in range(plan.rounds):
        for size in plan.sizes:
            smallest = size == plan.sizes[0]
            for where in wheres if smallest else wheres[:2]:
                mine = Case(OURS, size, where)
                ours = attempt(mine, plan, options, results, turn, say)
                fresh = True
                for key in plan.peers:
                    case = Case(key, size, where)
                    if key == OURS or not can(case, plan, results):
                        continue
                    if smallest and not fresh:
                        ours = attempt(mine, plan, options, results, turn, say)
                    found = attempt(case, plan, options, results, turn, say)
                    fresh = found is None
                    if ours is not None and found is not None:
                        results.ratios.setdefault(case, []).append(ours.decisions / found.decisions)


def can(case: Case, plan: Plan, results: Results) -> bool:
    """Whether a case is one that the peer can do, and do in time."""
    chosen = peer(case.peer)
    if case.peer in results.missing or case in results.left_out:
        return False
    if (case.where == "apart" and not chosen.apart) or (case.where == "two" and chosen.workers == 1):
        return False
    if case.blocked > chosen.sizes and case.blocked != plan.sizes[0]:
        return False
    smaller = results.figures.get(Case(case.peer, plan.sizes[0], "inside"))
    if smaller and (seconds := case.blocked / min(smaller[0].decisions, smaller[0].starts)) > plan.patience_s:
        results.left_out[case] = f"it would take {seconds:,.0f} s"
        return False
    return True


def attempt(
    case: Case, plan: Plan, options: Options, results: Results, turn: int, say: Callable[[str], None]
) -> Figures | None:
    """Measure one case once; note why where it cannot be."""
    if not can(case, plan, results):
        return None
    chosen = peer(case.peer)
    smallest = case.blocked == plan.sizes[0]
    what = f"{chosen.name}, {case.blocked:,} blocked, {case.where}"
    try:
        found = measure(
            case.peer,
            min(case.blocked, chosen.sizes),
            options,
            apart=case.where == "apart",
            workers=2 if case.where == "two" else 1,
            singles=0 if case.where == "two" else SINGLES,
            idle_s=IDLE_S if smallest and case.where == "inside" and case not in results.figures else 0.0,
            patience_s=plan.patience_s,
        )
    except Missing as error:
        results.missing[case.peer] = str(error)
        say(f"round {turn + 1}: {chosen.name} is left out: {error}")
        return None
    except FAILURES as error:
        results.left_out[case] = str(error)
        say(f"round {turn + 1}: {what}: {error}")
        return None
    results.figures.setdefault(case, []).append(found)
    say(
        f"round {turn + 1}: {what}: {found.starts:,.0f} started/s, {found.decisions:,.0f} decided/s,"
        f" p50 {found.p50_ms:.1f} ms"
    )
    return found


def render(plan: Plan, results: Results) -> str:
    """Return the tables, as Markdown."""
    shown = [key for key in dict.fromkeys((OURS, *plan.peers)) if key not in results.missing]
    parts = [
        "### Decided in the worker's process",
        rates(plan, results, shown, "inside"),
        "### Decided in another process",
        rates(plan, results, shown, "apart"),
        f"### What it takes ({plan.sizes[0]:,} blocked, decided in the worker's process)",
        costs(plan, results, shown),
    ]
    notes = [line for where in ("inside", "apart") for line in growth(plan, results, where)]
    notes += [f"- {peer(key).name}: not measured: {why}" for key, why in results.missing.items()]
    notes += [
        f"- {peer(case.peer).name}, {case.blocked:,} blocked ({case.where}): left out: {why}"
        for case, why in results.left_out.items()
    ]
    return "\n\n".join([*parts, "\n".join(notes)]).rstrip()


def rates(plan: Plan, results: Results, shown: Sequence[str], where: Where) -> str:
    """Return the table of rates and latencies."""
    rows = []
    for size in plan.sizes:
        for key in shown:
            case = Case(key, size, where)
            if case not in results.figures:
                continue
            ratio = statistics.median(results.ratios[case]) if case in results.ratios else None
            rows.append(
                [
                    peer(key).name,
                    f"{min(size, peer(key).sizes):,}",
                    number(results.median(case, "starts")),
                    number(results.median(case, "decisions")),
                    number(ratio, ".1f", " times"),
                    number(results.median(case, "p50_ms"), ".1f"),
                    number(results.median(case, "p99_ms"), ".1f"),
                    number(results.median(case, "cpu_us")),
                ]
            )
    return markdown(
        [
            "",
            "blocked",
            "started to blocked /s",
            "decided to completed /s",
            "hitl is ahead by",
            "one decision p50 ms",
            "p99 ms",
            "CPU µs a decision",
        ],
        rows,
    )


def growth(plan: Plan, results: Results, where: Where) -> Iterator[str]:
    """Yield the cost of a decision with more blocked runs, compared with the fewest."""
    least, *more = (Case(OURS, size, where) for size in plan.sizes)
    for case in more:
        if case in results.figures and least in results.figures:
            pairs = zip(results.figures[least], results.figures[case], strict=False)
            time, cpu = (
                statistics.median(ratios)
                for ratios in zip(
                    *((a.decisions / b.decisions, b.cpu_us / a.cpu_us) for a, b in pairs), strict=True
                )
            )
            yield (
                f"- hitl, a decision with {case.blocked:,} blocked against {least.blocked:,} ({where}):"
                f" {time:.2f} times the time, {cpu:.2f} times the CPU"
            )


def costs(plan: Plan, results: Results, shown: Sequence[str]) -> str:
    """Return the table of resources: memory, disk, idle CPU, and which commits are synced."""
    rows = []
    for key in shown:
        one, two = (Case(key, plan.sizes[0], where) for where in ("inside", "two"))
        most = max(
            (Case(key, size, "inside") for size in plan.sizes),
            key=lambda c: (c in results.figures, c.blocked),
        )
        if one not in results.figures:
            continue
        both, alone = results.median(two, "decisions"), results.median(one, "decisions")
        rows.append(
            [
                peer(key).name,
                number(both / alone if both and alone else None, ".2f"),
                number(results.median(most, "worker_mb")),
                number(results.median(most, "server_mb")),
                number(results.median(most, "disk_bytes")),
                f"{results.figures[one][0].idle:.1%}",
                peer(key).syncs,
            ]
        )
    return markdown(
        [
            "",
            "two workers / one",
            "worker MB",
            "server MB",
            "bytes on disk a run",
            "idle, of a core",
            "commits synced",
        ],
        rows,
    )


def number(value: float | None, shape: str = ",.0f", unit: str = "") -> str:
    """Return a number as a cell."""
    return "" if value is None else f"{value:{shape}}{unit}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose columns are aligned."""
    widths = [max(len(row[n]) for row in [head, *rows]) for n in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        rest = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
        return f"| {' | '.join([cells[0].ljust(widths[0]), *rest])} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(head), line(rule), *(line(row) for row in rows)])
