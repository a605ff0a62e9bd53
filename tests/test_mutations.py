"""One wrong rounding, pad side, clamp or index at a time, and the comparisons of test_ops.py notice it.

Numbers in the generated C of every family are changed without being told which. Two tables aim better; their values
are a case, where to change what (a regular expression), and what to put there:

- C: in the generated C. Its bytes then differ from the reference's, in the changed layer.
- PYTHON: in the references and what they are computed from. The original runtime's bytes then differ.
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FunctionType, ModuleType

import pytest
from building import differences, host, tflm, varied
from operator_cases import FAMILIES, NAMED, build, named_cases

from tinygen import fixedpoint
from tinygen.errors import ToolFailed
from tinygen.ops import (
    activations,
    add_n,
    arg_extremum,
    batch_matmul,
    cast,
    common_scale,
    concatenation,
    depthwise_conv_2d,
    div,
    extremum,
    float_curves,
    l2_normalization,
    log_softmax,
    lstm,
    mirror_pad,
    mul,
    pad,
    pool_2d,
    prelu,
    quantize,
    reduce,
    resize_bilinear,
    resize_nearest_neighbor,
    rsqrt,
    softmax,
    softmax_int16,
    space_to_batch,
    squared_difference,
    strided_copy,
    svdf,
    table_copy,
    transpose_conv,
    weighted,
    window,
)

SAMPLES = 8
CODE, CONSTANTS = ".c", "_constants.inc"

C = {
    "rounding to nearest": ("prelu-per_channel", CODE, r"\(INT64_C\(1\) << 30\)", "0"),
    "ties": ("prelu-per_channel", CODE, r"> threshold", ">= threshold"),
    "proved factor": ("add-same_shape", CODE, r"= a \* \d", r"\g<0>0"),
    "proved offset": ("add-same_shape", CODE, r"(= a \* .*) - \d+;", r"\1 - 1;"),
    "proved multiplier": ("conv_2d-same_odd_total", CODE, r"layer_00_multiplier\[channel\]", r"\g<0> * 2"),
    "proved step": ("conv_2d-same_odd_total", CODE, r"\(sum >> 31\)", "~(sum >> 31)"),
    "proved addend": ("conv_2d-same_odd_total", CODE, r"layer_00_addend\[channel\]", r"\g<0> + 1024"),
    "upper clamp": ("conv_2d-relu6", CODE, r"(_clamp\(y, -?\d+), \d+\)", r"\1, 5)"),
    "lower clamp": ("fully_connected-relu", CODE, r"_clamp\(y, -?\d+,", "_clamp(y, -128,"),
    "output zero point": ("add-fine_output", CODE, r"(layer_00_finish.*\n.*\n.*) \+ 5;", r"\1 + 6;"),
    "operand zero point": ("add-fine_output", CODE, r"b - 12\)", "b - 11)"),
    "factor's zero point": ("mul-same_shape", CODE, r"\(a \+ 3\)", "(a + 2)"),
    "square": ("squared_difference-same_shape", CODE, r"difference \* difference", "difference * 2"),
    "padding value": ("conv_2d-same_odd_total", CODE, r"\(x\[row \+ i\] \+ 7\)", "(x[row + i] + 6)"),
    "padding before": ("conv_2d-same_odd_total", CODE, r"iy = oy - 1;", "iy = oy - 2;"),
    "padding before a transposed window": ("transpose_conv-same", CODE, r"oy, ox \+ 1\)", "oy, ox)"),
    "border": ("pad-same_border", CODE, r"\*y\+\+ = -17;", "*y++ = -16;"),
    "taps outside": ("depthwise_conv_2d-3x3", CODE, r"(origin < 0 \?) [^:]+:", r"\1 0 - origin + 1 :"),
    "divisor": ("pool_2d-average_same_odd_total", CODE, r"(ky1 - ky0\)) \* ", r"\1 + "),
    "number of terms": ("reduce-mean_image", CODE, r"r0 < 30;", "r0 < 29;"),
    "comparison": ("extremum-maximum", CODE, r"a > b \?", "a < b ?"),
    "one bias": ("conv_2d-same_odd_total", CONSTANTS, r"(layer_00_bias\[4\] = \{\s+)-?\d+", r"\g<1>9761"),
    "one weight": ("fully_connected-plain", CONSTANTS, r"(layer_00_weights\[\d+\] = \{\s+)-?\d+", r"\g<1>127"),
    "one table entry": ("quantize-requantize", CONSTANTS, r"(table\[256\] = \{\s+)-?\d+", r"\g<1>77"),
    "one of an activation": ("activations-leaky_relu", CONSTANTS, r"(table\[256\] = \{\s+)-?\d+", r"\g<1>77"),
    "rounding before a curve": ("sigmoid-logistic_int16", CODE, r" \+ 4096\) >> 13", ") >> 13"),
    "sum of exponentials": ("softmax-ten_classes", CODE, r"\+ 2048U\) >> 12", "+ 2048U) >> 13"),
    "part": ("concatenation-channels", CODE, r"y\[4\] = x1\[0\]", "y[4] = x0[0]"),
    "index": ("gather-columns", CONSTANTS, r"(offsets_0\[5\] = \{\s+)\d+, \d+,", r"\g<1>3, 3,"),
    "edge": ("mirror_pad-reflect", CONSTANTS, r"(offsets_1\[7\] = \{\s+)\d+,", r"\g<1>0,"),
    "ties of weighted means": ("resize_bilinear-twice", CODE, r"sum \+ 524288", "sum + 524287"),
    "row": ("resize_nearest_neighbor-twice", CODE, r"i0 \* 20", "i1 * 20"),
    "phase": ("space_to_batch-space_to_batch_nd_plain", CODE, r"oy \* 2 \+ dy", "oy * 2 + 1 - dy"),
    "first of equals": ("arg_extremum-arg_max_classes", CODE, r"> x\[first\]", ">= x[first]"),
    "second matrix": ("batch_matmul-int8_batch", CODE, r"\] \+ 7\)", "] + 6)"),
    "order": ("cast-int8_to_int16", CODE, r"x\[i\];", "x[258 - i];"),
    "one of a curve": ("float_curves-elu", CONSTANTS, r"(table\[256\] = \{\s+)-?\d+", r"\g<1>77"),
    "one term": ("add_n-three", CODE, r"sum \+= x2\[i\]", "sum += x1[i]"),
    "sign of a quotient": ("div-negative_divisors", CODE, r"dividend = -dividend", "dividend = dividend"),
    "sum of squares": ("l2_normalization-plain", CODE, r"value \* value", "value * 2"),
    "step of a root": ("rsqrt-int16", CODE, r"step < 5", "step < 4"),
    "largest logarithm": ("log_softmax-ten_classes", CODE, r", 22\) \+ 127", ", 22) + 126"),
    "slope's zero point": ("prelu-per_channel", CODE, r"\(b - 12\)", "(b - 11)"),
    "rounded probability": ("softmax_int16-ten_classes", CODE, r"\(INT32_C\(1\) << \(exponent - 1\)\)", "0"),
    "what a cell keeps": ("lstm-plain", CODE, r"1073741824, 14\)", "1073741824, 15)"),
    "newest feature": ("svdf-plain", CODE, r"memory\[4\] \* w\[4\]", "memory[4] * w[3]"),
    "first element": ("strided_copy-slice_box", CODE, r"x\[33 \+", "x[32 +"),
}

PYTHON: Mapping[str, tuple[str, ModuleType, str, str]] = {
    "rounding to nearest": ("conv_2d-same_odd_total", fixedpoint, r"\(product \+ \(1 << 30\)\) >> 31", "product >> 31"),
    "ties": ("conv_2d-per_tensor", fixedpoint, r"> threshold", ">= threshold"),
    "upper clamp": ("conv_2d-relu6", weighted, r"\*self\.clamp\)", "self.clamp[0], self.clamp[1] - 1)"),
    "lower clamp": ("fully_connected-relu", weighted, r"\*self\.clamp\)", "self.clamp[0] - 1, self.clamp[1])"),
    "pad side": ("conv_2d-same_odd_total", window, r"return (total // 2), (total - total // 2)", r"return \2, \1"),
    "cropped side": ("transpose_conv-same", transpose_conv, r"rows\.before :, ", "rows.after :, "),
    "order of taps": ("depthwise_conv_2d-3x3", depthwise_conv_2d, r"weights\[0, ky, kx\]", "weights[0, kx, ky]"),
    "headroom": (
        "add-same_shape",
        common_scale,
        r"(a_zero_point\)) << self\.left_shift",
        r"\1 << (self.left_shift - 1)",
    ),
    "zero point": ("mul-same_shape", mul, r"a - self\.a_zero_point", "a - self.a_zero_point - 1"),
    "square": ("squared_difference-same_shape", squared_difference, r"difference\*\*2", "difference * 2"),
    "border": ("pad-uneven_border", pad, r"zip\(self\.before, self\.after,", "zip(self.after, self.before,"),
    "divisor": ("pool_2d-average_same_odd_total", pool_2d, r"(self\.window\.pad\(np\.ones\(.*), 0\)", r"\1, 1)"),
    "sum's zero point": ("reduce-mean_image", reduce, r" - self\.zero_point\)\.sum", ").sum"),
    "comparison": ("extremum-maximum", extremum, r"a > b", "a < b"),
    "requantised zero point": ("quantize-requantize", quantize, r"(difference = .*) - self\.zero_point", r"\1"),
    "slope": ("activations-leaky_relu", activations, r"self\.negative_requant", "self.requant"),
    "symmetry of a curve": ("sigmoid-logistic", fixedpoint, r"INT32_MAX - positive", "positive"),
    "units of the sum": ("softmax-ten_classes", softmax, r"headroom \+ 31 - 8", "headroom + 31 - 9"),
    "order of parts": (
        "concatenation-channels",
        concatenation,
        r"np\.concatenate\(rows,",
        "np.concatenate(rows[::-1],",
    ),
    "index": ("gather-columns", table_copy, r"\(x\[np\.ix_", "(x[::-1, ::-1, ::-1][np.ix_"),
    "edge": ("mirror_pad-reflect", mirror_pad, r"0 if repeats_edge else 1", "1 if repeats_edge else 0"),
    "ties of weighted means": ("resize_bilinear-twice", resize_bilinear, r"(half = ONE \* ONE // 2)", r"\1 - 1"),
    "half pixels": (
        "resize_nearest_neighbor-larger_half_pixel",
        resize_nearest_neighbor,
        r"0\.5 if half_pixel_centers else 0\.0",
        "0.0",
    ),
    "phases": ("space_to_batch-space_to_batch_nd_plain", space_to_batch, r"transpose\(2, 4,", "transpose(4, 2,"),
    "largest and smallest": ("arg_extremum-arg_max_classes", arg_extremum, r"\.argmax\(", ".argmin("),
    "second matrix": ("batch_matmul-int8_batch", batch_matmul, r"(right = .*) - self\.b_zero_point", r"\1"),
    "truncation": ("cast-float32_to_int8", cast, r"np\.trunc\(", "np.floor("),
    "ties of a curve": ("float_curves-elu", float_curves, r"np\.copysign\(0\.5, steps\)", "0.5"),
    "largest logarithm": ("log_softmax-ten_classes", log_softmax, r"_OUTPUT_SHIFT\) \+ 127", "_OUTPUT_SHIFT) + 126"),
    "zero points of terms": ("add_n-three", add_n, r" - self\.zero_point", ""),
    "sign of a quotient": ("div-negative_divisors", div, r"np\.where\(b < 0, -1, 1\)", "1"),
    "sum of squares": ("l2_normalization-plain", l2_normalization, r"difference\*\*2", "difference"),
    "step of a root": ("l2_normalization-plain", fixedpoint, r"range\(5\)", "range(2)"),
    "root of nothing": ("rsqrt-plain", rsqrt, r"== 0, high,", "== 0, low,"),
    "slope's zero point": ("prelu-per_channel", prelu, r"np\.int64\(self\.alpha_zero_point\)", "np.int64(0)"),
    "rounded probability": ("softmax_int16-ten_classes", softmax_int16, r"\(np\.int64\(1\) << \(29 - h.*?\)\)", "0"),
    "gates of a cell": ("lstm-plain", lstm, r"apply\(i \* g\)", "apply(f * g)"),
    "zero point of a memory": ("svdf-plain", svdf, r" \+ self\.output_zero_point", ""),
    "first element": ("strided_copy-slice_box", strided_copy, r"\[self\.offset :", "[self.offset - 1 :"),
}

# Families that compute nothing: the output is the input's memory.
NOTHING_TO_CHANGE = {"reshape"}

MOST_CHANGES = 12


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - NOTHING_TO_CHANGE))
def test_a_changed_number_in_the_c_of_every_family_is_noticed(family: str, tmp_path: Path) -> None:
    built = next(
        built for name in named_cases(family) if (built := build(NAMED[name], tmp_path / name)).manifest.layers
    )
    text = built.source.read_text()
    inputs = varied(built, SAMPLES)
    for changed in itertools.islice(changed_numbers(text), MOST_CHANGES):
        built.source.write_text(changed)
        try:
            if differences(built, inputs, host(built)):
                return
        except ToolFailed:  # it does not compile any more, or a sanitizer stops it
            continue
    raise AssertionError(f"none of {MOST_CHANGES} changes was noticed")


def changed_numbers(text: str) -> Iterator[str]:
    """The text with one number in the code of layers made one larger, the last ones first."""
    start = text.index("\n/* Layer 0")
    code = range(start, re.compile(r"\w+ \*kws_input").search(text, start).start())  # type: ignore[union-attr]
    for found in reversed(list(re.finditer(r"(?<![\w.])\d+(?![\w.])", text))):
        if found.start() in code:
            yield f"{text[: found.start()]}{int(found[0]) + 1}{text[found.end() :]}"


@pytest.mark.parametrize("mutation", C)
def test_a_change_of_the_c_is_noticed_and_placed(mutation: str, tmp_path: Path) -> None:
    name, suffix, pattern, replacement = C[mutation]
    built = build(NAMED[name], tmp_path)
    file = built.library / f"{built.manifest.name}{suffix}"
    file.write_text(changed_text(file.read_text(), pattern, replacement, file.name))
    found = differences(built, varied(built, SAMPLES), host(built))
    assert found
    assert all(f"layer 0 {NAMED[name].op}" in difference for difference in found)


@pytest.mark.parametrize("mutation", PYTHON)
def test_a_change_of_the_reference_is_noticed(mutation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, module, pattern, replacement = PYTHON[mutation]
    change_code(monkeypatch, module, pattern, replacement)
    built = build(NAMED[name], tmp_path)
    assert differences(built, varied(built, SAMPLES), tflm(built))


def changed_text(text: str, pattern: str, replacement: str, where: str) -> str:
    changed = re.sub(pattern, replacement, text)
    assert changed != text, f"nothing in {where} matches {pattern}"
    return changed


def change_code(patch: pytest.MonkeyPatch, module: ModuleType, pattern: str, replacement: str) -> None:
    """Give a module's functions the code of its changed source, for everybody who imported them."""
    text = changed_text(inspect.getsource(module), pattern, replacement, module.__name__)
    namespace: dict[str, object] = {"__name__": module.__name__}
    exec(compile(text, str(module.__file__), "exec", dont_inherit=True), namespace)
    new = dict(functions(namespace, module.__name__))
    changed = [(old, new[name]) for name, old in functions(vars(module), module.__name__)]
    changed = [(old, new) for old, new in changed if old.__code__ != new.__code__]
    assert changed, f"{pattern} matches no function of {module.__name__}"
    for old, new_function in changed:
        patch.setattr(old, "__code__", new_function.__code__)


def functions(namespace: Mapping[str, object], module: str) -> Iterator[tuple[str, FunctionType]]:
    """The functions and methods that a module defines, by qualified name."""
    for value in list(namespace.values()):
        if getattr(value, "__module__", None) != module:
            continue
        if isinstance(value, FunctionType):
            yield value.__qualname__, value
        elif isinstance(value, type):
            yield from functions(vars(value), module)
