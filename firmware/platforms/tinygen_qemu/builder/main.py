"""PlatformIO's build script for this platform: compile, link, upload into the emulator, stop it."""

from pathlib import Path

from SCons.Script import AlwaysBuild, Builder, Default, DefaultEnvironment

env = DefaultEnvironment()
board = env.BoardConfig()
here = Path(env.PioPlatform().get_dir())

tools = board.get("build.toolchain")
flags = list(board.get("build.flags"))
libc = list(board.get("build.libc"))
regions = board.get("build.regions")
emulator = board.get("build.emulator")
core_folder = here / "core"
own_folder = core_folder / board.get("build.architecture")
# avr-libc has start-up code and memory layout for each processor; the others' are here.
is_avr = own_folder.name == "avr"

sections = r"^(?:\.text|\.ARM\.exidx|\.data)\s+(\d+).*"
env.Replace(
    AR=tools + "gcc-ar", AS=tools + "gcc", CC=tools + "gcc", CXX=tools + "g++", LINK=tools + "gcc",
    RANLIB=tools + "gcc-ranlib", OBJCOPY=tools + "objcopy", SIZETOOL=tools + "size", ARFLAGS=["rc"],
    PROGNAME="firmware", PROGSUFFIX=".elf",
    SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
    SIZEPROGREGEXP=sections, SIZEDATAREGEXP=r"^(?:\.data|\.bss)\s+(\d+).*",
    LDSCRIPT_PATH="" if is_avr else str(own_folder / "link.ld"),
)  # fmt: skip

layout = [
    f"-L{core_folder}", "-nostartfiles", f"-Wl,--defsym=stack_bytes={board.get('build.stack_bytes')}",
    *(f"-Wl,--defsym=board_{name}_{key}={region[key]}"
      for name, region in regions.items() for key in ("address", "bytes")),
]  # fmt: skip

# No -O here: build_flags in platformio.ini decide.
env.Append(
    ASFLAGS=flags,
    CCFLAGS=[*flags, *libc, "-g", "-ffunction-sections", "-fdata-sections", "-Wall", "-Wextra"],
    CFLAGS=["-std=c11"],
    CXXFLAGS=["-fno-rtti", "-fno-exceptions"],
    LINKFLAGS=[
        *flags, *libc, "-Wl,--gc-sections",
        "-Xlinker", '-Map="$BUILD_DIR/${PROGNAME}.map"',  # -Wl would split at a comma
        *([] if is_avr else layout),
    ],
    LIBS=["c", "m", "gcc"],
    CPPPATH=["$PROJECT_SRC_DIR"],  # the port implements src/runner/port.h
    CPPDEFINES=[
        ("BOARD_CLOCK_HZ", f"{board.get('build.clock_hz')}u"), ("BOARD_BAUD", f"{board.get('build.baud')}u"),
        ("UART_BASE", f"0x{emulator['uart_address']:X}u"), ("UART_IRQ", emulator["uart_irq"]),
        ("TICKS_BASE", f"0x{emulator['ticks_address']:X}u"),
        ("TICKS_ARE_CYCLES", int(not emulator["program"].startswith("qemu-system-"))),
    ],
    BUILDERS={"ElfToBin": Builder(
        action=env.VerboseAction("$OBJCOPY -O binary $SOURCES $TARGET", "Building $TARGET"), suffix=".bin")},
)  # fmt: skip

core = env.Clone()  # without the build_flags of platformio.ini, which are meant for the library
core.Append(CCFLAGS=["-Os"])
core.BuildSources(
    "$BUILD_DIR/core", str(core_folder),
    src_filter=["-<*>", f"+<{own_folder.name}/*.c>",
                f"+<uart_{emulator['uart']}.c>", f"+<ticks_{emulator['ticks']}.c>"],
)  # fmt: skip
elf = env.BuildProgram()
binary = env.ElfToBin("$BUILD_DIR/${PROGNAME}", elf)
env.Depends(binary, "checkprogsize")
AlwaysBuild(env.Alias("nobuild", binary))
size = env.AddPlatformTarget("size", elf, env.VerboseAction("$SIZETOOL $SOURCES", "Size of $SOURCES"), "Program size")

control = f'"$PYTHONEXE" "{here / "tools" / "emulator.py"}" --state "$PROJECT_WORKSPACE_DIR"'
machine = f'--program {emulator["program"]} --machine {emulator["machine"]} --cpu "{emulator["cpu"]}"'
machine += f" --icount-shift {emulator['icount_shift']}"
start = f'{control} start {machine} "$SOURCE"'
env.AddPlatformTarget("upload", elf, [env.VerboseAction(start, f"Starting $SOURCE in {emulator['program']}")], "Upload")
env.AddPlatformTarget(
    "stop",
    None,
    [env.VerboseAction(control + " stop", "Stopping the emulator")],
    "Stop",
    "Stop the emulator",
    always_build=True,
)
Default([binary, size])
