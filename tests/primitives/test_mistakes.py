"""Error messages for mistakes in kernels: place, caret, and what to write instead."""

from __future__ import annotations

import linecache
import math
import textwrap

import pytest

from midflight.errors import KernelError, KernelErrors
from midflight.primitives import Aggregate, Filter, Header, Packet, Primitive, Program, Register, Threshold, bit, int_
from tests.primitives.golden import check_golden

HEAD = """\
import math
from midflight.primitives import *

SCALE = 1.5
NAMES = {}


def twice(value):
    return value + value


def note(wire):
    wire.key8 = 1
    return wire.value


def some(value):
    if value > 3:
        return value


def rounds(value):
    for lane in range(3):
        if value > lane:
            return value
    return value


def constant(value):
    if value > 3:
        return 1
    return 0


def mixed(value):
    if value > 3:
        return bit[8](1)
    return value


def silent(value):
    pass


def forever(value):
    return forever(value + 1)


def every(*values):
    return values[0]


shift = lambda value: value >> 1


class Corner(Header):
    x = bit[8]


class Lesson(Primitive):
    lanes: int = 2
    limit: int = 10

    class Wire(Header):
        key8 = bit[8]
        value = bit[32]
        signed = int_[32]
        values = int_[32].array("lanes")
        corner = Corner.struct()
        corners = Corner.array(2)
        n = bit[8]
        items = Corner.array(4, count="n")

    def setup(self):
        self.count = Register(bit[32], 1024)
        self.total = Register(int_[32], 256, lanes=self.lanes)
        self.history = []

    def seen(self, index):
        return self.count.update_fetch(index, lambda old: old + 1)

    def ingress(self, packet, wire):
"""

MISTAKES = {
    "while": """\
while wire.value > 0:
    wire.value -= 1""",
    "float": "wire.value = wire.value * 1.5",
    "float_constant": "wire.value = wire.value + SCALE",
    "true_division": "wire.value = wire.value / 2",
    "division": "wire.value = wire.value // 10",
    "division_by_variable": "wire.value = wire.value // wire.value",
    "dict": "seen = {wire.value: 1}",
    "dict_constant": "NAMES[wire.value] = 1",
    "list_state": "self.history.append(wire.value)",
    "list": "wire.value = sum([1, 2, 3])",
    "second_access": """\
old = self.count.update(wire.key8, lambda old: old + 1)
if old > 10:
    self.count.update(wire.key8, lambda old: 0)""",
    "second_access_in_loop": """\
for lane in range(2):
    self.count.update(wire.key8, lambda old: old + 1)""",
    "mixed_widths": "wire.value = wire.value + wire.key8",
    "mixed_signs": "wire.value = wire.signed",
    "constant_too_large": "wire.key8 = 300",
    "negative_constant": "wire.value = -1",
    "compare_beyond": "if wire.key8 < 1000: packet.drop()",
    "undefined": "wire.value = valeu",
    "maybe_undefined": """\
if wire.value > 3:
    extra = wire.value
wire.value = extra""",
    "no_field": "wire.valeu = 3",
    "no_parameter": "wire.value = self.limits",
    "no_width": """\
count = 0
if wire.value > 3:
    count = 1
wire.value = count""",
    "choice_without_width": """\
flag = 1 if wire.value > 3 else 0
wire.value = flag""",
    "kind_changes": """\
x = wire.value
x = wire.key8""",
    "number_as_condition": "if wire.value: packet.drop()",
    "condition_as_number": "wire.value = wire.key8 > 3",
    "register_read_directly": "wire.value = self.count[3]",
    "register_assigned": "self.count = 3",
    "lanes_forgotten": "self.total.update(0, lambda old: old + 1)",
    "no_such_lane": "wire.values[2] = 0",
    "dynamic_lane": "wire.signed = wire.values[wire.key8]",
    "loop_over_list": "for each in wire.values: pass",
    "loop_bound": "for each in range(wire.value): pass",
    "conditional_access": "big = wire.value > 3 and self.count.read(0) > 2",
    "break": """\
for lane in range(2):
    break""",
    "return_value": "return wire.value",
    "unreachable": """\
packet.drop()
return
packet.forward()""",
    "print": "print(wire.value)",
    "math": "wire.value = math.sqrt(wire.value)",
    "two_alerts": """\
packet.alert(wire.value)
packet.alert(wire.key8)""",
    "unknown_verdict": "packet.send(3)",
    "sequence_written": "packet.sequence = 3",
    "try": """\
try:
    pass
except ValueError:
    pass""",
    "f_string": 'packet.alert(f"{wire.value}")',
    "shift_without_width": "wire.value = 1 << wire.key8",
    "signed_shift": "wire.value = wire.value << wire.signed",
    "index_wide": "self.count.update(wire.signed, lambda old: old)",
    "index_constant": "self.count.update(5000, lambda old: old)",
    "not_a_lambda": "self.count.update(wire.value, wire.value)",
    "nothing": "wire.value + 1",
    "python_hash": "wire.value = hash(wire.key8)",
    "hash_of_nothing": "wire.value = hash_(seed=3)",
    "hash_without_width": "wire.value = hash_(wire.key8, 3)",
    "hash_of_condition": "wire.value = hash_(wire.key8 > 3)",
    "hash_of_old": "self.count.update(wire.key8, lambda old: hash_(old))",
    "hash_with_a_seed_of_the_packet": "wire.value = hash_(wire.key8, seed=wire.value)",
    "hash_seed": "wire.value = hash_(wire.key8, seed=-1)",
    "hash_range": "wire.value = hash_(wire.key8, range=0)",
    "hash_settings": "wire.value = hash_(wire.key8, rows=3)",
    "hash_mixed": "wire.key8 = hash_(wire.key8)",
    "keyword_arguments": "wire.value = min(wire.value, key=3)",
    "bits_beyond": "wire.key8 = bits(wire.value, 32, 25)",
    "bits_turned_round": "wire.key8 = bits(wire.value, 0, 7)",
    "bits_of_the_packet": "wire.key8 = bits(wire.value, wire.key8, 0)",
    "bits_of_a_constant": "wire.key8 = bits(512, 8, 1)",
    "concat_of_one": "wire.value = concat(wire.value)",
    "concat_of_a_constant": "wire.value = concat(0, wire.key8)",
    "concat_mixed": "wire.value = concat(wire.key8, wire.key8)",
    "slice": "wire.key8 = wire.value[8:0]",
    "random_of_nothing": "wire.value = packet.random()",
    "random_below": "wire.value = packet.random(100)",
    "random_wide": "wire.value = bit[32](packet.random(bit[128]))",
    "random_mixed": "wire.value = packet.random(bit[16])",
    "random_unused": "packet.random(bit[16])",
    "time_written": "packet.now = 3",
    "python_time": "wire.value = time.time()",
    "python_random": "wire.value = random.getrandbits(32)",
    "helper_mixed_widths": "wire.value = twice(wire.key8)",
    "helper_in_the_midst": "wire.value = wire.value + note(wire)",
    "helper_that_ends_without_a_value": "wire.value = some(wire.value)",
    "helper_that_returns_from_a_loop": "wire.value = rounds(wire.value)",
    "helper_without_a_width": "small = constant(wire.value)",
    "helper_of_two_kinds": "wire.value = mixed(wire.value)",
    "helper_of_two_kinds_in_an_update": "self.total[0].update(0, lambda old: int_[32](mixed(old)))",
    "helper_without_a_value": "quiet = silent(wire.value)",
    "helper_not_used": "twice(wire.value)",
    "helper_given_too_much": "wire.value = twice(wire.value, 3)",
    "helper_given_a_constant_choice": "wire.value = twice(1 if wire.key8 > 3 else 0)",
    "helper_of_any_number": "wire.value = every(wire.value, wire.value)",
    "helper_that_calls_itself": "wire.value = forever(wire.value)",
    "helper_that_is_a_lambda": "wire.value = shift(wire.value)",
    "helper_in_a_condition": "if wire.key8 > 3 and self.seen(wire.key8) > 4: packet.drop()",
    "helper_in_an_update": "self.total[0].update(0, lambda old: old + int_[32](self.seen(wire.key8)))",
    "advance_by_a_number_of_another_width": "ahead = advance(self.count, wire.key8, wire.key8)",
    "advance_without_a_register": "ahead = advance(wire.value, wire.key8, packet.sequence)",
    "advance_in_a_condition": "late = wire.key8 > 3 and advance(self.count, wire.key8, packet.sequence) < 0",
    "popcount_of_a_constant": "wire.value = bit[32](popcount(self.limit))",
    "popcount_in_an_update": "self.count.update(wire.key8, lambda old: bit[32](popcount(old)))",
    "no_such_thing_of_a_type": "wire.value = self.count.kind.bits",
    "helper_that_accesses_twice": """\
once = self.seen(wire.key8)
again = self.seen(wire.key8)""",
    "method_of_the_language": "self.validate()",
    "match_of_a_name": """\
match wire.key8:
    case 3:
        packet.drop()
    case other:
        packet.reply()""",
    "match_of_a_list": """\
match wire.key8:
    case [1, 2]:
        packet.drop()""",
    "match_of_a_class": """\
match wire.key8:
    case int():
        packet.drop()""",
    "match_of_what_does_not_fit": """\
match wire.key8:
    case 1 | 300:
        packet.drop()""",
    "update_if_without_a_condition": "self.count.update_if(wire.key8, lambda old: old + 1)",
    "update_if_of_a_number": "self.count.update_if(wire.key8, wire.value, lambda old: old + 1)",
    "no_field_inside": "wire.corner.y = 3",
    "header_inside_assigned": "wire.corner = wire.corners[0]",
    "header_inside_as_number": "wire.key8 = wire.corner",
    "headers_inside_as_one": "wire.corners.x = 3",
    "no_such_header_inside": "wire.corners[2].x = 3",
    "header_inside_by_the_packet": "wire.corners[wire.key8].x = 3",
    "items_counted_anew": "wire.n = 3",
    "items_as_one": "wire.items.x = 3",
    "no_such_item": "wire.key8 = wire.items[4].x",
    "no_such_item_asked": "if wire.items.present(4): packet.drop()",
    "item_by_the_packet": "wire.key8 = wire.items[wire.n].x",
    "function_inside": """\
def twice(x): return x + x
wire.value = twice(wire.value)""",
    "call_forgotten": "packet.drop",
    "variable_of_float": "x: float = wire.value",
    "bool": "if bool(wire.value): packet.drop()",
    "any": "if any(wire.values): packet.drop()",
    "sorted": "wire.signed = sorted(wire.values)[0]",
    "in_a_list": "if wire.key8 in [1, 2]: packet.drop()",
    "in_a_range": "if wire.key8 in range(3): packet.drop()",
    "number_in_a_choice_of_conditions": "if wire.value and wire.key8 > 2: packet.drop()",
    "none": "x = None",
    "is_none": "if wire.value is None: packet.drop()",
    "async": "async def wait(): pass",
    "yield": "yield wire.value",
    "with": """\
with wire.value: pass""",
    "import": "import numpy",
    "global": "global SCALE",
    "delete": "del wire.value",
    "comprehension": "wire.signed = max([wire.values[lane] for lane in range(2)])",
    "no_value": "count: int",
    "chained": "wire.value = wire.signed = 3",
    "packet_assigned": "packet = 3",
    "register_counted_on": "self.count += 1",
    "element_counted_on": "self.count[wire.key8] += 1",
    "attribute_assigned": "self.seen_total = wire.value",
    "loop_variable_assigned": """\
for lane in range(2):
    lane = 3""",
    "numpy": "wire.value = np.max(wire.values)",
    "method_of_a_number": "wire.value = wire.value.bit_length()",
    "no_such_access": "self.count.increment(wire.key8)",
    "shift_backwards": "wire.value = wire.value << -1",
    "loop_to_a_field": "for lane in range(wire.n): pass",
    "too_wide": "wire.value = bit[5000](wire.value)",
    "kind_without_a_width": "wire.value = bit(wire.value)",
    "remainder_by_three": "wire.value %= 3",
    "matrices": "wire.value = wire.value @ wire.value",
    "sum_of_conditions": "wire.value = (wire.key8 > 3) + (wire.key8 > 5)",
    "alert_of_a_text": "packet.alert('hot')",
    "packet_by_bytes": "wire.key8 = packet[0]",
    "packet_address": "if packet.source == 3: packet.drop()",
    "slice_of_lanes": "wire.signed = wire.values[0:1]",
    "arguments_spread": "wire.value = twice(*wire.values)",
    "default_in_an_update": "self.count.update(wire.key8, lambda old, more=1: old + more)",
    "walrus": "if (x := wire.value) > 3: packet.drop()",
    "two_at_once": "a, b = wire.value, wire.key8",
    "power": "wire.value = wire.value ** 2",
    "register_made_in_a_kernel": "self.count = Register(bit[8], 4)",
    "several_numbers_as_one": "packet.alert(*wire.values)",
    "least_of_an_array": "wire.signed = min(wire.values)",
    "multiple_lines": """\
wire.value = (
    wire.value
    + wire.key8
)""",
}


def lesson(name: str, body: str, head: str = HEAD) -> type[Primitive]:
    """Return a primitive class with the text of a kernel, as if from a file lesson.py."""
    source = head + textwrap.indent(body, " " * 8) + "\n"
    file = f"lesson_{name}.py"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    scope: dict[str, object] = {"__name__": "lesson", "math": math}
    exec(compile(source, file, "exec", dont_inherit=True), scope)
    made = scope["Lesson"]
    assert isinstance(made, type)
    assert issubclass(made, Primitive)
    return made


def test_every_mistake_is_explained() -> None:
    reported = []
    for name, body in MISTAKES.items():
        with pytest.raises(KernelError) as caught:
            Program(lesson(name, body)("lesson"))
        reported.append(f"--- {name}\n{caught.value}\n")
        assert caught.value.place is not None, name
        assert caught.value.hint, name
    check_golden("mistakes.txt", "\n".join(reported))


SEVERAL = {
    "independent": (
        """\
wire.valeu = 3
wire.key8 = 300
while wire.value > 0:
    pass
packet.send()""",
        [
            "the header has no field `valeu`",
            "300 does not fit bit[8], which holds 0 to 255",
            "the kernel language does not support `while`",
            "a packet has no method `send`",
        ],
    ),
    "what rests on a mistake is not told": (
        """\
x = wire.valeu + 1
y = x + 1
for lane in range(x):
    wire.values[lane] = y
    wire.valeu = 3
if y > x:
    packet.send()
x = wire.value
wire.key8 = x""",
        [
            "the header has no field `valeu`",
            "the header has no field `valeu`",
            "a packet has no method `send`",
            "`wire.key8` is bit[8], but `x` is bit[32]",
        ],
    ),
    "both sides of an operator, and an if with both its branches": (
        """\
wire.value = wire.left + wire.right
if wire.value:
    wire.key8 = 256
else:
    wire.key8 = 257""",
        [
            "the header has no field `left`",
            "the header has no field `right`",
            "`wire.value` is a number, not a condition",
            "256 does not fit bit[8], which holds 0 to 255",
            "257 does not fit bit[8], which holds 0 to 255",
        ],
    ),
    "a helper's once, and the kernel's": (
        """\
a = some(wire.value)
b = some(wire.value)
for lane in range(2):
    wire.values[lane] = wire.value""",
        [
            "`some` returns no value on some paths",
            "`wire.values[lane]` is int_[32], but `wire.value` is bit[32]",
        ],
    ),
    "lines that are never reached": (
        """\
return 3
packet.send()""",
        ["a kernel returns no value", "this line is never reached"],
    ),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_all_mistakes_of_a_kernel_are_reported_at_once(name: str) -> None:
    body, reported = SEVERAL[name]
    with pytest.raises(KernelErrors) as caught:
        Program(lesson(f"several_{name.split()[0]}", body)("lesson"))
    assert [each.message for each in caught.value.errors] == reported
    assert all(each.place is not None for each in caught.value.errors)
    assert str(caught.value) == "\n".join(map(str, caught.value.errors))


def test_a_single_mistake_is_not_a_group() -> None:
    with pytest.raises(KernelError) as caught:
        Program(lesson("single", "wire.valeu = 3")("lesson"))
    assert not isinstance(caught.value, KernelErrors)


def test_an_invalid_kernel_does_not_run_as_reference() -> None:
    with pytest.raises(KernelError, match="floating-point"):
        lesson("float", MISTAKES["float"])("lesson").reference()


PREDICATES = {
    "syntax": "temperature >",
    "empty": "",
    "assignment": "temperature = 3",
    "call": "open('/etc/passwd')",
    "attribute": "temperature.__class__ == 3",
    "float": "temperature > 36.6",
    "number": "temperature + 1",
    "constant": "temperature > 2**40",
    "lambda": "(lambda: 3)() == temperature",
    "string": "status == 'on'",
    "newline": "temperature > 80 and\nstatus != 0.5",
}


def test_every_mistake_in_a_condition_is_explained() -> None:
    reported = []
    for name, keep in PREDICATES.items():
        with pytest.raises(KernelError) as caught:
            Program(Filter("telemetry", keep=keep))
        reported.append(f"--- {name}\n{caught.value}\n")
    check_golden("predicates.txt", "\n".join(reported))


def test_a_condition_names_declared_fields_only() -> None:
    with pytest.raises(KernelError, match="`statos` is not defined") as caught:
        Program(Filter("telemetry", keep="statos > 3", fields={"status": bit[8]}))
    assert "did you mean `status`?" in str(caught.value)


@pytest.mark.parametrize(
    ("make", "reported"),
    [
        (lambda: Aggregate("a", workers=0), "workers must be 1 to 64, not 0"),
        (lambda: Aggregate("a", workers=65), "workers must be 1 to 64, not 65"),
        (lambda: Aggregate("a", workers=4, lanes=0), "lanes must be 1 to 256, not 0"),
        (lambda: Aggregate("a", workers=4, slots=1 << 15), "slots must be 1 to 16384, not 32768"),
        (lambda: Aggregate("a", workers=4, overflow="ignore"), "overflow must be wrap, saturate or detect"),  # type: ignore[arg-type]
        (lambda: Aggregate("a", workers=4, operation="add"), "operation must be sum, min, .* or mean, not 'add'"),  # type: ignore[arg-type]
        (lambda: Aggregate("a", workers=4, number="int8"), "number must be int32 or int16, not 'int8'"),  # type: ignore[arg-type]
        (lambda: Aggregate("a", workers=2.5), "workers must be an integer, not 2.5"),  # type: ignore[arg-type]
        (lambda: Aggregate("a", workers=True), "workers must be an integer, not True"),
        (lambda: Aggregate("a b", workers=2), "an application's name has only"),
        (lambda: Threshold("t", above=5, clear=5), "clear must be below above"),
        (lambda: Threshold("t", above=2**32, clear=5), "above must be 1 to 4294967295"),
        (lambda: Threshold("t", above=9, clear=5, rate=-1), "rate must be 0 to 4294967295, not -1"),
        (lambda: Filter("f", keep=3), "keep must be a string"),  # type: ignore[arg-type]
        (lambda: Filter("f", keep="a > 3", fields={"a": 32}), "fields must be a dict"),  # type: ignore[dict-item]
        (lambda: Register(bit[8], 0), "size must be an integer"),
        (lambda: Register(bit[8], 4, initial=256), "initial value 256 does not fit"),
        (lambda: bit[0], "at least 1"),
        (lambda: int_[1], "a signed number has at least 2 bits"),
        (lambda: int_[-3], "at least 1"),
        (lambda: Program(), "a program needs at least one primitive"),
    ],
)
def test_parameters_out_of_range_are_rejected(make: object, reported: str) -> None:
    assert callable(make)
    with pytest.raises(KernelError, match=reported):
        make()


def test_a_field_with_only_an_annotation_is_reported() -> None:
    with pytest.raises(KernelError, match="is only annotated"):

        class Wire(Header):
            value: int


def test_a_nested_header_without_struct_is_reported() -> None:
    class Point(Header):
        x = bit[8]

    with pytest.raises(KernelError, match="is a header") as caught:

        class Wire(Header):
            origin = Point

    assert "write `origin = Point.struct()`" in str(caught.value)


def test_an_unknown_parameter_is_reported() -> None:
    class Missing(Primitive):
        class Wire(Header):
            value = bit["widht"]

        def ingress(self, packet: Packet, wire: Wire) -> None:
            packet.forward()

    with pytest.raises(KernelError, match="'widht', but there is no parameter of that name"):
        Program(Missing("missing"))


def test_a_missing_import_is_reported() -> None:
    class Forgetful(Primitive):
        class Wire(Header):
            value = bit[8]

        def ingress(self, packet: Packet, wire: Wire) -> None:
            wire.value = sat_add(wire.value, 1)  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(KernelError, match="`sat_add` is not defined") as caught:
        Program(Forgetful("forgetful"))
    assert caught.value.hint == "import it at the top of the file: `from midflight.primitives import sat_add`"
