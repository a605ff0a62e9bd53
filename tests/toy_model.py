"""A model library of a few lines, written by hand, with the interface of a generated one.

Two "layers" over 600 bytes: add 1 to each, then negate every second. A call counter is its state, added to byte 0.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path

from tinygen.manifest import SCHEMA, Layer, LayerEstimate, LayerOutput, Manifest, Model, Port
from tinygen.project import project_files
from tinygen.target import load_board, load_core

BYTES = 600  # more than two LOADs and two READs
SHA256 = hashlib.sha256(b"toy").hexdigest()
STACK = 1000  # bytes that a layer keeps on its stack

HEADER = """\
#ifndef TOY_H
#define TOY_H
#include <stdint.h>
#define TOY_LAYERS 2
int8_t *toy_input(void);
const int8_t *toy_output(void);
void toy_invoke(void);
void toy_reset(void);
void *toy_state(uint32_t *bytes);
void toy_run_layer(uint32_t layer);
const void *toy_layer_output(uint32_t layer, uint32_t *bytes);
#endif
"""

SOURCE = f"""\
#include "toy.h"
#if defined(__arm__) && (defined(__OPTIMIZE_SIZE__) || !defined(__OPTIMIZE__) || TOY_FLAG != 5)
#error "the library's flags did not reach its compiler"
#endif
static int8_t arena[{BYTES}];
static uint8_t calls;

int8_t *toy_input(void) {{ return arena; }}
const int8_t *toy_output(void) {{ return arena; }}
void toy_reset(void) {{ calls = 0; }}
void *toy_state(uint32_t *bytes) {{ *bytes = sizeof calls; return &calls; }}

__attribute__((noinline)) static void layer_0(void)
{{
    volatile int8_t copy[{STACK}];
    for (int i = 0; i < {BYTES}; i++) copy[i] = arena[i];
    for (int i = 0; i < {BYTES}; i++) arena[i] = (int8_t)(copy[i] + 1);
    arena[0] = (int8_t)(arena[0] + calls);
    calls++;
}}

__attribute__((noinline)) static void layer_1(void)
{{
    for (int i = 0; i < {BYTES}; i += 2) arena[i] = (int8_t)-arena[i];
}}

void toy_run_layer(uint32_t layer)
{{
    if (layer == 0) layer_0(); else layer_1();
}}

const void *toy_layer_output(uint32_t layer, uint32_t *bytes)
{{
    (void)layer;
    *bytes = {BYTES};
    return arena;
}}

void toy_invoke(void)
{{
    TRAP
    layer_0();
    layer_1();
}}
"""


def source(trap: str = "") -> str:
    """toy.c; `trap` is C that invoke starts with."""
    return SOURCE.replace("TRAP", trap)


def layers(data: bytes, calls: int = 0) -> list[bytes]:
    """What each layer leaves, for an input; `calls` earlier ones since the last reset."""
    first = bytearray((byte + 1) & 0xFF for byte in data)
    first[0] = (first[0] + calls) & 0xFF
    second = bytes(-byte & 0xFF if index % 2 == 0 else byte for index, byte in enumerate(first))
    return [bytes(first), second]


def layer_crcs(data: bytes, calls: int = 0) -> list[int]:
    return layer_crcs_of(layers(data, calls))


def layer_crcs_of(outputs: list[bytes]) -> list[int]:
    return [zlib.crc32(output) for output in outputs]


def example(seed: int = 0) -> bytes:
    return bytes((index * 7 + seed * 13) & 0xFF for index in range(BYTES))


def port(name: str, symbol: str) -> Port:
    return Port(name, symbol, "static", "int8", (1, BYTES), None, 0.5, 0, BYTES)


def manifest(board: str) -> Manifest:
    output = LayerOutput("t", "int8", (BYTES,), BYTES, "arena", 0)
    estimate = LayerEstimate("toy", None, None, 0, 0)
    return Manifest(
        schema=SCHEMA,
        tinygen="0",
        name="toy",
        model=Model("toy.tflite", SHA256, "model/toy.tflite"),
        profile="tflm",
        batch=None,
        streaming=None,
        front_end=None,
        io="model",
        layout="model",
        notes=(),
        optimize="balanced",
        board=board,
        core="cortex-m4",
        include_dirs=("lib/toy/src",),
        sources=("lib/toy/src/toy.c",),
        cflags=("-O2", "-DTOY_FLAG=5"),
        host_include_dirs=(),
        host_sources=(),
        inputs=(port("in", "toy_input"),),
        outputs=(port("out", "toy_output"),),
        begin=None,
        invoke="toy_invoke",
        reset="toy_reset",
        arena_bytes=BYTES,
        set_arena=None,
        shared_arena=None,
        arena_lower_bound=BYTES,
        scratch_bytes=0,
        state_bytes=1,
        places={},
        hot_layers=(),
        const_bytes=0,
        macs=0,
        model_macs=0,
        layers=tuple(
            Layer(index, f"layer {index}", "TOY", f"layer_{index}", "toy", "exact", "", 0, output, estimate, ())
            for index in range(2)
        ),
        removed=(),
        files={},
    )


def write_project(out: Path, board_name: str, trap: str = "") -> Manifest:
    """A whole project in `out`, as `tinygen build` would leave it."""
    described = manifest(board_name)
    board = load_board(board_name)
    files = dict(project_files(board, load_core(board.core), [described]))
    files["lib/toy/library.json"] = json.dumps({"name": "toy", "version": "1.0.0", "build": {}})
    files["lib/toy/src/toy.h"] = HEADER
    files["lib/toy/src/toy.c"] = source(trap)
    files["manifest.json"] = described.to_json()
    for path, content in files.items():
        target = out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
    return described
