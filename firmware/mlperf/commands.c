#include "commands.h"

#include <string.h>

#include "../runner/port.h"
#include "../runner/protocol.h"
#include "benchmark.h"
#include "buffer.h"
#include "task.h"
#include "text.h"

#define END '%'
#define READY "m-ready\r\n"
#define MOST_WORDS 4u

static char line[COMMANDS_LONGEST + 1u];
static uint16_t length; /* beyond COMMANDS_LONGEST: too long, and counted no further */

static void name(char *const *words, uint8_t count)
{
    (void)words;
    (void)count;
    text_put("m-name-dut-[");
    text_put(mlperf_task.device);
    text_put("]\r\n");
}

static void profile(char *const *words, uint8_t count)
{
    (void)words;
    (void)count;
    text_put("m-profile-[ULPMark for tinyML Firmware V0.0.1]\r\nm-model-[");
    text_put(mlperf_task.model);
    text_put("]\r\n");
}

static void help(char *const *words, uint8_t count);

static const struct {
    const char *name;
    void (*run)(char *const *words, uint8_t count);
    const char *help;
} commands[] = {
    {"name", name, "name                      who this is"},
    {"profile", profile, "profile                   which benchmark, and its model"},
    {"timestamp", benchmark_timestamp, "timestamp                 the time that inferences have taken"},
    {"db", buffer_command, "db load N | HEX | print   fill the buffer with N bytes of raw data"},
    {"infer", benchmark_infer, "infer N [W=10]            N inferences after W to warm up"},
    {"results", benchmark_results, "results                   of the last inference"},
    {"help", help, "help                      these lines"},
};

static void help(char *const *words, uint8_t count)
{
    (void)words;
    (void)count;
    for (uint8_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        text_put(commands[i].help);
        text_put("\r\n");
    }
}

/* Cuts the line at its spaces; how many words there are, of which the first MOST_WORDS are noted. */
static uint8_t cut(char **words)
{
    uint8_t count = 0;
    for (char *at = line; *at != '\0';) {
        while (*at == ' ') {
            *at++ = '\0';
        }
        if (*at != '\0' && count < MOST_WORDS) {
            words[count++] = at;
        }
        while (*at != ' ' && *at != '\0') {
            at++;
        }
    }
    return count;
}

static void execute(void)
{
    char *words[MOST_WORDS];
    const uint8_t count = cut(words);
    if (count == 0u) {
        return;
    }
    for (uint8_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, words[0]) == 0) {
            commands[i].run(words + 1, (uint8_t)(count - 1u));
            return;
        }
    }
    text_put("e-[Unknown command: ");
    text_put(words[0]);
    text_put("]\r\n");
}

void commands_init(void)
{
    length = 0;
    mlperf_task.prepare();
    text_put("m-init-done\r\n" READY);
}

void commands_receive(uint8_t byte)
{
    if (byte != END) {
        /* What is no text, line ends and noise from before the first command, is left out. */
        if (byte >= ' ' && byte <= '~' && length <= COMMANDS_LONGEST) {
            line[length++] = (char)byte;
        }
        return;
    }
    if (length > COMMANDS_LONGEST) {
        text_put("e-[A command is longer than ");
        text_put_u64(COMMANDS_LONGEST);
        text_put(" characters]\r\n");
    } else {
        line[length] = '\0';
        execute();
    }
    length = 0;
    text_put(READY);
}

/* A fault ends the benchmark: it is the answer to everything from here on. */
void protocol_fault(const protocol_fault_t *fault)
{
    for (;;) {
        text_put("e-[The processor stopped on fault ");
        text_put_u64(fault->number);
        text_put(" at ");
        text_put_u64(fault->pc);
        text_put("]\r\n" READY);
        int byte = 0;
        while (byte != END) {
            byte = port_getc();
            if (byte < 0) {
                port_idle();
            }
        }
    }
}
