"""Tests of the lab "Query pruning". The oracle computes the query on all rows, and simulates nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from midflight.labs.bench import Bench, GradedTest, require
from midflight.labs.kernels import DROPPED, FORWARDED, Kernel, Outcome
from midflight.labs.packets import header

__all__ = ["TESTS"]

NAME = "prune.py"
WIRE = header("request", "kind:8 customer:32 price:32 left:32")
ROW, END = 1, 2


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    customer: int
    price: int = 0
    kind: int = ROW

    @property
    def fields(self) -> dict[str, int]:
        """The values of the fields of its message, by name, except `left`, which is 0."""
        return {"kind": self.kind, "customer": self.customer, "price": self.price}


def play(bench: Bench, rows: int, below: int, table: Sequence[Row]) -> list[Outcome]:
    """Send a table to a `Prune` with these parameters, and return the outcome of each row.

    Incorrect if a row is neither dropped nor forwarded, or is forwarded changed; an END may change.
    """
    outcomes = Kernel(bench, NAME, "Prune", WIRE, rows=rows, below=below).send([each.fields for each in table])
    for number, (row, each) in enumerate(zip(table, outcomes, strict=True), 1):
        head = f"row {number} (kind {row.kind}, customer {row.customer}, price {row.price})"
        require(each.verdict in (FORWARDED, DROPPED), f"{head} {each.verdict}, must be forwarded or dropped")
        if each.verdict == FORWARDED and row.kind != END:
            require(each.fields == {**row.fields, "left": 0}, f"{head} has changed: {dict(each.fields)}")
    return outcomes


def draw_table(bench: Bench, customers: int, count: int, below: int) -> list[Row]:
    """Return rows of some customers, most of them below the limit."""
    known = [bench.random.randrange(1, 1 << 32) for _ in range(customers)]
    return [
        Row(bench.random.choice(known), bench.random.choice([0, below - 1, below, bench.random.randrange(2 * below)]))
        for _ in range(count)
    ]


def check_answer(table: Sequence[Row], outcomes: Sequence[Outcome], below: int) -> None:
    """Check the condition, and that no customer is missing."""
    seen: set[int] = set()
    for number, (row, each) in enumerate(zip(table, outcomes, strict=True), 1):
        head = f"row {number} (customer {row.customer}, price {row.price}, limit {below})"
        if row.kind != ROW:
            continue
        if row.price >= below:
            require(each.verdict == DROPPED, f"{head} {each.verdict}, must be dropped because of its price")
        elif row.customer not in seen:
            reason = "must be forwarded: its price is below the limit, and it is the first row of a new customer"
            require(each.verdict == FORWARDED, f"{head} {each.verdict}, {reason}")
            seen.add(row.customer)


def condition(bench: Bench) -> None:
    """The condition of the query."""
    below = bench.random.randrange(100, 1000)
    prices = [0, below - 1, below, below + 1, below // 2, (1 << 32) - 1]
    prices += [bench.random.randrange(2 * below) for _ in range(40)]
    table = [Row(bench.random.randrange(1, 1 << 32), price) for price in prices]
    check_answer(table, play(bench, 4096, below, table), below)


def answers(bench: Bench) -> None:
    """No customer is ever missing, with caches that are much too small."""
    for rows, customers in ((1, 5), (8, 40), (64, 200)):
        below = bench.random.randrange(100, 1000)
        table = draw_table(bench, customers, 300, below)
        # Customers that differ in their high bits only.
        table += [Row(each.customer ^ 1 << bench.random.randrange(16, 32)) for each in table[:80]]
        table = [each for each in table if each.customer]
        check_answer(table, play(bench, rows, below, table), below)


def repeated(bench: Bench) -> None:
    """Rows of one customer, one after the other."""
    table = [Row(bench.random.randrange(1, 1 << 32), number) for _ in range(30) for number in range(3)]
    table = [Row(table[at // 3 * 3].customer, row.price) for at, row in enumerate(table)]
    outcomes = play(bench, 64, 500, table)
    check_answer(table, outcomes, 500)
    for number, (row, each) in enumerate(zip(table, outcomes, strict=True)):
        if number % 3:
            head = f"row {number + 1} (customer {row.customer})"
            reason = "must be dropped: its customer comes again at once"
            require(each.verdict == DROPPED, f"{head} {each.verdict}, {reason}")


def alternating(bench: Bench) -> None:
    """Two customers in a cache with one row, in turn."""
    one, two = bench.random.sample(range(1, 1 << 32), 2)
    table = [Row(customer) for customer in (one, two) * 12]
    outcomes = play(bench, 1, 500, table)
    check_answer(table, outcomes, 500)
    for number, each in enumerate(outcomes[2:], 3):
        reason = "must be dropped: two customers share a row with two places"
        require(each.verdict == DROPPED, f"row {number} {each.verdict}, {reason}")


def traffic(bench: Bench) -> None:
    """A cache with enough rows drops nearly all repeated rows."""
    known = [bench.random.randrange(1, 1 << 32) for _ in range(60)]
    table = [Row(bench.random.choice(known)) for _ in range(900)]
    outcomes = play(bench, 512, 500, table)
    check_answer(table, outcomes, 500)
    passed = sum(each.verdict == FORWARDED for each in outcomes)
    require(passed <= 120, f"{passed} of 900 rows pass, of 60 customers and with 512 rows in the cache")


def ends(bench: Bench) -> None:
    """The end of the rows, with the number of rows that were left; and other kinds."""
    table: list[Row] = []
    for part in range(4):
        table += draw_table(bench, 10, 25 * part, 300)
        table += [Row(bench.random.randrange(1, 1 << 32), bench.random.randrange(900), kind) for kind in (0, 3, END)]
    outcomes = play(bench, 128, 300, table)
    check_answer(table, outcomes, 300)
    left = 0
    for number, (row, each) in enumerate(zip(table, outcomes, strict=True), 1):
        if row.kind == ROW:
            left += each.verdict == FORWARDED
            continue
        name = "the end" if row.kind == END else f"a message of kind {row.kind}"
        require(each.verdict == FORWARDED, f"message {number}, {name}, {each.verdict}, must be forwarded")
        if row.kind == END:
            have = each.fields["left"]
            require(have == left, f"message {number}, {name}: left is {have}, must be {left}")
            left = 0


TESTS = [
    GradedTest("condition", 15, "Rows that do not fulfil the condition are dropped", condition),
    GradedTest("answers", 25, "No row is dropped that the answer needs", answers),
    GradedTest("repeated", 15, "A customer that comes again at once is dropped", repeated),
    GradedTest("alternating", 15, "A row of the cache has two places", alternating),
    GradedTest("traffic", 10, "A cache with enough rows drops nearly all repeated rows", traffic),
    GradedTest("ends", 20, "The end has the number of rows that were left", ends),
]
