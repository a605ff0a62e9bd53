#include "buffer.h"

#include <string.h>

#include "task.h"
#include "text.h"

#define BYTES_PER_LINE 8u

static uint32_t expected; /* bytes that were announced; 0 before the first */
static uint32_t loaded;

static void load(char *const *words, uint8_t count)
{
    uint32_t bytes;
    if (count != 1u || !text_read_u32(words[0], &bytes) || bytes == 0u) {
        text_put("e-[db load takes the number of bytes, 1 or more]\r\n");
        return;
    }
    if (bytes > mlperf_task.raw_bytes) {
        text_put("e-[The buffer has no more than ");
        text_put_u64(mlperf_task.raw_bytes);
        text_put(" bytes]\r\n");
        return;
    }
    expected = bytes;
    loaded = 0;
    text_put("m-[Expecting ");
    text_put_u64(bytes);
    text_put(" bytes]\r\n");
}

static void print(char *const *words, uint8_t count)
{
    uint32_t bytes = loaded;
    uint32_t offset = 0;
    const int is_read = (count < 1u || text_read_u32(words[0], &bytes)) && (count < 2u || text_read_u32(words[1], &offset));
    if (!is_read || count > 2u || offset > loaded) {
        text_put("e-[db print takes a number of bytes, and an offset within those that were loaded]\r\n");
        return;
    }
    if (bytes > loaded - offset) {
        bytes = loaded - offset;
    }
    for (uint32_t i = 0; i < bytes; i++) {
        text_put(i % BYTES_PER_LINE == 0u ? "m-buffer-" : "-");
        text_put_hex(mlperf_task.raw[offset + i]);
        if (i % BYTES_PER_LINE == BYTES_PER_LINE - 1u || i == bytes - 1u) {
            text_put("\r\n");
        }
    }
}

/* All of the digits are taken, or none. */
static void fill(const char *digits)
{
    const size_t length = strlen(digits);
    if (length % 2u != 0u) {
        text_put("e-[Two hex digits make a byte, and one is missing]\r\n");
        return;
    }
    for (size_t i = 0; i < length; i++) {
        if (text_hex_digit(digits[i]) < 0) {
            text_put("e-[Neither load nor print, and no hex digits: ");
            text_put(digits);
            text_put("]\r\n");
            return;
        }
    }
    if (length / 2u > expected - loaded) {
        text_put("e-[More bytes than were announced: ");
        text_put_u64(expected - loaded);
        text_put(" are missing]\r\n");
        return;
    }
    for (size_t i = 0; i < length; i += 2u) {
        const int byte = text_hex_digit(digits[i]) * 16 + text_hex_digit(digits[i + 1u]);
        mlperf_task.raw[loaded++] = (uint8_t)byte;
    }
    if (loaded == expected) {
        text_put("m-load-done\r\n");
    }
}

void buffer_command(char *const *words, uint8_t count)
{
    if (count == 0u) {
        text_put("e-[db is followed by load, print, or hex digits]\r\n");
    } else if (strcmp(words[0], "load") == 0) {
        load(words + 1, (uint8_t)(count - 1u));
    } else if (strcmp(words[0], "print") == 0) {
        print(words + 1, (uint8_t)(count - 1u));
    } else if (count > 1u) {
        text_put("e-[Hex digits are one word]\r\n");
    } else {
        fill(words[0]);
    }
}

uint32_t buffer_bytes(void)
{
    return loaded == expected ? loaded : 0u;
}
