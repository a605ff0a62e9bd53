/* Counts what an emulated core executes: a plugin for QEMU, built on first use by tinygen/counting/plugin.py.
 *
 * One function, the root, is watched, from its entry to its return; functions called by it, the parts, are told apart.
 * A span is one call of a part, callees included, or what the root does outside of them. Addresses are hexadecimal.
 * Arguments:
 *
 *   out=FILE               written when the root returns, anew each time
 *   isa=NAME               the core's instructions: arm (Thumb) or riscv
 *   root=ADDRESS           the root's first instruction
 *   feed=ADDRESS           the first instruction of another root, if there is one, that is called before: all of its
 *                          calls and that of the root are one record, and the part that it calls is span 0
 *   begin=ADDRESS          the first instruction of what makes those calls start over, and the record, too
 *   part=ADDRESS           a part's first instruction; any number
 *   stack=LOW-HIGH         the range that the stack lies in, HIGH excluded
 *   allow=SPAN:LOW-HIGH:W  nothing else may be touched: SPAN is -1 (outside of parts), 0, 1 ... in the order of calls, or
 *                          "all"; W is r, w or rw; any number. Without any, nothing is forbidden.
 *   pair=SPAN:LOW-HIGH:LOW-HIGH  an input of a span, and its output, which lie apart; any number
 *
 * The file, one record a line:
 *
 *   span INDEX ADDRESS               what follows, up to the next span; ADDRESS is that of the part or root
 *   PC COUNT TAKEN                   an instruction: executions, and how often another than the next one followed
 *   stack BYTES                      most bytes below the stack pointer at the root's entry that were written
 *   outside COUNT SPAN PC ADDRESS W  forbidden accesses, and the first of them (zeros when there are none)
 *   pair INPUT_ABOVE OUTPUT_ABOVE SAME
 *                                    for each pair, in the order of the arguments: had the input begun this many bytes
 *                                    after the output, or any more, or the output after the input, no byte would have
 *                                    been written before it was read for the last time; may be negative. SAME is 1 if
 *                                    that holds where both begin at the same byte, else 0.
 *   end
 *
 * QEMU ships no header for plugins on every system, so version 1 of their interface is declared here. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info_t;

enum { CALLBACK_NO_REGISTERS = 0, INLINE_ADD = 0, ACCESS_WRITE = 2, ACCESS_ANY = 3 };

typedef void (*translated_t)(qemu_plugin_id_t id, struct qemu_plugin_tb *block);
typedef void (*executed_t)(unsigned core, void *data);
typedef void (*accessed_t)(unsigned core, qemu_plugin_meminfo_t info, uint64_t address, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, translated_t callback);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block, executed_t callback, int flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int operation, void *at, uint64_t by);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, accessed_t callback, int flags, int access,
                                      void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
unsigned qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t info);
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t info);

EXPORT int qemu_plugin_version = 1;

typedef struct {
    uint64_t pc;
    uint64_t next; /* the address behind it */
    bool calls;    /* comes back to `next` */
    uint64_t count, taken;
    uint64_t count_before, taken_before; /* at the start of the span */
} instruction_t;

typedef struct {
    instruction_t *first, *last;
} block_t;

typedef struct {
    bool all;
    long span;
    uint64_t low, high;
    bool read, write;
} allowance_t;

typedef struct {
    uint64_t low, high;
} range_t;

typedef struct {
    long span;
    range_t input, output;
    int64_t written_from, written_to; /* of the output, so far */
    int64_t input_above, output_above;
    bool *written; /* for each byte of the output, whether it was */
    bool same;
} pair_t;

enum { MOST_PARTS = 65536, MOST_ALLOWANCES = 65536, MOST_PAIRS = 65536, OUTSIDE_OF_PARTS = -1 };

static const char *out_path;
static bool is_riscv; /* else Thumb */
static uint64_t root, feed, begin, parts[MOST_PARTS];
static size_t part_count;
static uint64_t stack_low, stack_high;
static allowance_t allowances[MOST_ALLOWANCES];
static size_t allowance_count;
static pair_t pairs[MOST_PAIRS];
static size_t pair_count;

/* Every instruction that was translated, by address: open addressing, a power of two. */
static instruction_t **table;
static size_t table_size, table_used;

static FILE *out;           /* open from when the first root is entered until the last one returns */
static bool running;        /* whether a root is */
static bool feeding;        /* whether it is the one that is called before */
static uint64_t root_return; /* where it returns to */
static uint64_t part_return; /* where the part that runs returns to; 0 when none does */
static uint64_t part_entry;
static uint64_t called_from; /* where the block executed last returns to, if it was called; else 0 */
static long span, next_span;
static const instruction_t *previous; /* executed last */
static instruction_t *previous_branch; /* the same, to count in */

static uint64_t stack_used; /* by the roots that have returned */
static uint64_t stack_lowest, stack_entry;
static const instruction_t *first_push; /* the root's first store to the stack; NULL before */
static bool entry_known;                /* no more of that one is to come */

static uint64_t outside_count;
static char outside_first[96];

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "counter: %s\n", what);
    exit(1);
}

static size_t slot_of(uint64_t pc)
{
    size_t slot = (size_t)((pc >> 1) * UINT64_C(0x9E3779B97F4A7C15) >> 20) & (table_size - 1);
    while (table[slot] != NULL && table[slot]->pc != pc) {
        slot = (slot + 1) & (table_size - 1);
    }
    return slot;
}

static void grow_table(void)
{
    instruction_t **const old = table;
    const size_t old_size = table_size;
    table_size = old_size ? 2 * old_size : 4096;
    table = calloc(table_size, sizeof *table);
    if (table == NULL) {
        give_up("out of memory");
    }
    for (size_t i = 0; i < old_size; i++) {
        if (old[i] != NULL) {
            table[slot_of(old[i]->pc)] = old[i];
        }
    }
    free(old);
}

/* Bytes of an instruction. QEMU's own answer is too large where it has looked ahead, at the end of a page. */
static unsigned size_of(const uint8_t *code)
{
    const bool is_long = is_riscv ? (code[0] & 3u) == 3u : code[1] >> 3 >= 0x1Du;
    return is_long ? 4 : 2;
}

/* JAL and JALR that leave the address behind them in ra, or in t0, for functions that save registers for others. */
static bool is_riscv_call(const uint8_t *code)
{
    const unsigned first = code[0] | code[1] << 8;
    if (size_of(code) == 2) {
        return (first & 0xE003u) == 0x2001u || ((first & 0xF07Fu) == 0x9002u && (first & 0x0F80u) != 0);
    }
    const unsigned operation = first & 0x7Fu;
    const unsigned result = first >> 7 & 0x1Fu;
    return (operation == 0x6Fu || operation == 0x67u) && (result == 1u || result == 5u);
}

static bool is_call(const uint8_t *code)
{
    if (is_riscv) {
        return is_riscv_call(code);
    }
    const unsigned first = code[0] | code[1] << 8;
    if (size_of(code) == 2) {
        return (first & 0xFF87u) == 0x4780u; /* BLX register */
    }
    const unsigned second = code[2] | code[3] << 8;
    return (first & 0xF800u) == 0xF000u && (second & 0xD000u) == 0xD000u; /* BL */
}

static instruction_t *find(const struct qemu_plugin_insn *insn)
{
    if (2 * table_used >= table_size) {
        grow_table();
    }
    const uint64_t pc = qemu_plugin_insn_vaddr(insn);
    const size_t slot = slot_of(pc);
    if (table[slot] == NULL) {
        instruction_t *const new = calloc(1, sizeof *new);
        if (new == NULL) {
            give_up("out of memory");
        }
        const uint8_t *const code = qemu_plugin_insn_data(insn);
        new->pc = pc;
        new->next = pc + size_of(code);
        new->calls = is_call(code);
        table[slot] = new;
        table_used++;
    }
    return table[slot];
}

static void begin_span(void)
{
    for (size_t i = 0; i < table_size; i++) {
        if (table[i] != NULL) {
            table[i]->count_before = table[i]->count;
            table[i]->taken_before = table[i]->taken;
        }
    }
}

static void end_span(void)
{
    fprintf(out, "span %ld %" PRIx64 "\n", span, span == OUTSIDE_OF_PARTS ? root : part_entry);
    for (size_t i = 0; i < table_size; i++) {
        const instruction_t *const at = table[i];
        if (at != NULL && at->count != at->count_before) {
            fprintf(out, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n", at->pc, at->count - at->count_before,
                    at->taken - at->taken_before);
        }
    }
}

static int64_t size_of_range(const range_t *range)
{
    return (int64_t)(range->high - range->low);
}

static void open_record(void)
{
    out = fopen(out_path, "w");
    if (out == NULL) {
        give_up("cannot write its file");
    }
    next_span = 0;
    stack_used = 0;
    outside_count = 0;
    strcpy(outside_first, "0 0 0 r");
    for (size_t i = 0; i < pair_count; i++) {
        pair_t *const pair = &pairs[i];
        pair->written_from = size_of_range(&pair->output);
        pair->written_to = 0;
        /* Where nothing is read after a write, the two need not even touch. */
        pair->input_above = -size_of_range(&pair->input);
        pair->output_above = -size_of_range(&pair->output);
        memset(pair->written, 0, (size_t)size_of_range(&pair->output));
        pair->same = true;
    }
}

static void enter_root(bool to_feed)
{
    if (out == NULL) {
        open_record();
    }
    running = true;
    feeding = to_feed;
    if (feeding) {
        next_span = 0;
    }
    root_return = previous->calls ? previous->next : called_from;
    part_return = 0;
    span = OUTSIDE_OF_PARTS;
    stack_lowest = UINT64_MAX;
    stack_entry = 0;
    first_push = NULL;
    entry_known = false;
    begin_span();
}

static void leave_root(void)
{
    end_span();
    running = false;
    if (stack_entry != 0 && stack_lowest < stack_entry && stack_entry - stack_lowest > stack_used) {
        stack_used = stack_entry - stack_lowest;
    }
    if (feeding) {
        return;
    }
    fprintf(out, "stack %" PRIu64 "\n", stack_used);
    fprintf(out, "outside %" PRIu64 " %s\n", outside_count, outside_first);
    for (size_t i = 0; i < pair_count; i++) {
        fprintf(out, "pair %" PRId64 " %" PRId64 " %d\n", pairs[i].input_above, pairs[i].output_above, pairs[i].same);
    }
    fprintf(out, "end\n");
    fclose(out);
    out = NULL;
}

static void change_span(long to)
{
    end_span();
    span = to;
    begin_span();
}

static bool is_part(uint64_t pc)
{
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i] == pc) {
            return true;
        }
    }
    return false;
}

/* A block is about to be executed; spans change between blocks, because calls and returns end blocks. */
static void on_block(unsigned core, void *data)
{
    (void)core;
    const block_t *const block = data;
    const uint64_t pc = block->first->pc;
    if (previous_branch != NULL && previous_branch->next != pc) {
        previous_branch->taken++;
    }
    if (running) {
        entry_known = entry_known || first_push != NULL;
        if (pc == root_return) {
            leave_root();
        } else if (part_return != 0 && pc == part_return) {
            part_return = 0;
            change_span(OUTSIDE_OF_PARTS);
        } else if (part_return == 0 && is_part(pc) && previous->next != pc) {
            change_span(next_span++);
            part_entry = pc;
            /* A call may lead over a veneer of the linker's. The last one may be a jump: that part returns to where
             * the root does. */
            part_return = previous->calls ? previous->next : called_from != 0 ? called_from : root_return;
        }
    } else if (previous != NULL && (pc == root || pc == feed)) {
        enter_root(pc == feed);
    } else if (pc == begin && out != NULL) {
        fclose(out);
        out = NULL;
    }
    called_from = previous != NULL && previous->calls ? previous->next : 0;
    previous = previous_branch = block->last;
}

static bool is_allowed(uint64_t low, uint64_t high, bool store)
{
    for (size_t i = 0; i < allowance_count; i++) {
        const allowance_t *const allowed = &allowances[i];
        if ((allowed->all || allowed->span == span) && allowed->low <= low && high <= allowed->high &&
            (store ? allowed->write : allowed->read)) {
            return true;
        }
    }
    return false;
}

/* Whether an access touches a range; which bytes of it, counted from its first one. */
static bool touches(const range_t *range, uint64_t low, uint64_t high, int64_t *from, int64_t *to)
{
    *from = low > range->low ? (int64_t)(low - range->low) : 0;
    *to = (int64_t)((high < range->high ? high : range->high) - range->low);
    return low < range->high && high > range->low;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void follow(pair_t *pair, uint64_t low, uint64_t high, bool store)
{
    int64_t from, to;
    if (store && touches(&pair->output, low, high, &from, &to)) {
        pair->written_from = from < pair->written_from ? from : pair->written_from;
        pair->written_to = larger(to, pair->written_to);
        memset(pair->written + from, true, (size_t)(to - from));
    }
    if (!store && pair->written_to > 0 && touches(&pair->input, low, high, &from, &to)) {
        pair->input_above = larger(pair->written_to - from, pair->input_above);
        pair->output_above = larger(to - pair->written_from, pair->output_above);
        for (int64_t at = from; at < to && at < size_of_range(&pair->output); at++) {
            pair->same = pair->same && !pair->written[at];
        }
    }
}

static void on_access(unsigned core, qemu_plugin_meminfo_t info, uint64_t address, void *data)
{
    (void)core;
    if (!running) {
        return;
    }
    const instruction_t *const at = data;
    const uint64_t end = address + (UINT64_C(1) << qemu_plugin_mem_size_shift(info));
    const bool store = qemu_plugin_mem_is_store(info);
    if (store && address >= stack_low && end <= stack_high) {
        /* On entry a function pushes registers: just below the stack pointer's first value. RISC-V has an instruction
         * for each of them, in any order, within the first block. */
        if (first_push == NULL) {
            first_push = at;
        }
        entry_known = entry_known || (!is_riscv && at != first_push);
        if (!entry_known && end > stack_entry) {
            stack_entry = end;
        }
        if (address < stack_lowest) {
            stack_lowest = address;
        }
    }
    if (allowance_count != 0 && !is_allowed(address, end, store) && outside_count++ == 0) {
        snprintf(outside_first, sizeof outside_first, "%ld %" PRIx64 " %" PRIx64 " %c", span, at->pc, address,
                 store ? 'w' : 'r');
    }
    for (size_t i = 0; i < pair_count; i++) {
        if (pairs[i].span == span) {
            follow(&pairs[i], address, end, store);
        }
    }
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *translated)
{
    (void)id;
    const size_t count = qemu_plugin_tb_n_insns(translated);
    block_t *const block = malloc(sizeof *block);
    if (block == NULL) {
        give_up("out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *const insn = qemu_plugin_tb_get_insn(translated, i);
        instruction_t *const at = find(insn);
        if (i == 0) {
            block->first = at;
        }
        block->last = at;
        qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD, &at->count, 1);
        qemu_plugin_register_vcpu_mem_cb(insn, on_access, CALLBACK_NO_REGISTERS,
                                         allowance_count + pair_count != 0 ? ACCESS_ANY : ACCESS_WRITE, at);
    }
    qemu_plugin_register_vcpu_tb_exec_cb(translated, on_block, CALLBACK_NO_REGISTERS, block);
}

static bool read_allowance(const char *text)
{
    allowance_t *const allowed = &allowances[allowance_count++];
    char access[3];
    allowed->all = strncmp(text, "all:", 4) == 0;
    const char *const rest = strchr(text, ':');
    if (allowance_count >= MOST_ALLOWANCES || rest == NULL ||
        sscanf(rest, ":%" SCNx64 "-%" SCNx64 ":%2s", &allowed->low, &allowed->high, access) != 3) {
        return false;
    }
    allowed->span = strtol(text, NULL, 10);
    allowed->read = strchr(access, 'r') != NULL;
    allowed->write = strchr(access, 'w') != NULL;
    return true;
}

static bool read_pair(const char *text)
{
    pair_t *const pair = &pairs[pair_count++];
    if (pair_count >= MOST_PAIRS ||
        sscanf(text, "%ld:%" SCNx64 "-%" SCNx64 ":%" SCNx64 "-%" SCNx64, &pair->span, &pair->input.low,
               &pair->input.high, &pair->output.low, &pair->output.high) != 5) {
        return false;
    }
    pair->written = calloc((size_t)size_of_range(&pair->output), sizeof *pair->written);
    return pair->written != NULL;
}

static bool read_argument(const char *argument)
{
    const char *const value = strchr(argument, '=') + 1;
    if (strncmp(argument, "out=", 4) == 0) {
        out_path = strdup(value);
        return true;
    }
    if (strcmp(argument, "isa=arm") == 0 || strcmp(argument, "isa=riscv") == 0) {
        is_riscv = strcmp(value, "riscv") == 0;
        return true;
    }
    if (strncmp(argument, "root=", 5) == 0) {
        root = strtoull(value, NULL, 16);
        return true;
    }
    if (strncmp(argument, "feed=", 5) == 0) {
        feed = strtoull(value, NULL, 16);
        return true;
    }
    if (strncmp(argument, "begin=", 6) == 0) {
        begin = strtoull(value, NULL, 16);
        return true;
    }
    if (strncmp(argument, "part=", 5) == 0 && part_count < MOST_PARTS) {
        parts[part_count++] = strtoull(value, NULL, 16);
        return true;
    }
    if (strncmp(argument, "stack=", 6) == 0) {
        return sscanf(value, "%" SCNx64 "-%" SCNx64, &stack_low, &stack_high) == 2;
    }
    if (strncmp(argument, "allow=", 6) == 0) {
        return read_allowance(value);
    }
    return strncmp(argument, "pair=", 5) == 0 && read_pair(value);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int count, char **arguments)
{
    (void)info;
    for (int i = 0; i < count; i++) {
        if (strchr(arguments[i], '=') == NULL || !read_argument(arguments[i])) {
            fprintf(stderr, "counter: cannot read the argument %s\n", arguments[i]);
            return -1;
        }
    }
    if (out_path == NULL || root == 0) {
        fprintf(stderr, "counter: out= and root= are needed\n");
        return -1;
    }
    grow_table();
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    return 0;
}
