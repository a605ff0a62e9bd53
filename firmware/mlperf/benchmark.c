#include "benchmark.h"

#include "../runner/port.h"
#include "buffer.h"
#include "task.h"
#include "text.h"

#define DEFAULT_WARMUPS 10u
#define MICROSECONDS 1000000u

static uint64_t ticks; /* of all measured inferences */
static int has_results;

static void put_number(const char *before, uint64_t number)
{
    text_put(before);
    text_put_u64(number);
    text_put("\r\n");
}

static void put_time(void)
{
    const uint32_t hz = port_tick_hz();
    const uint64_t time = hz == 0u ? ticks : ticks / hz * MICROSECONDS + ticks % hz * MICROSECONDS / hz;
    put_number("m-lap-us-", time);
}

static void put_results(void)
{
    for (uint32_t i = 0; i < mlperf_task.result_count; i++) {
        text_put(i == 0u ? "m-results-[" : ",");
        text_put_float(mlperf_task.results[i]);
    }
    text_put("]\r\n");
}

/* 0 where an inference takes more ticks than can be counted. */
static int infer(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        mlperf_task.load();
        port_ticks_start();
        mlperf_task.invoke();
        const uint32_t taken = port_ticks();
        if (taken == UINT32_MAX) {
            return 0;
        }
        ticks += taken;
    }
    return 1;
}

static void warm_up(uint32_t count)
{
    const uint64_t before = ticks;
    (void)infer(count);
    ticks = before;
}

void benchmark_infer(char *const *words, uint8_t count)
{
    uint32_t inferences = 1;
    uint32_t warmups = DEFAULT_WARMUPS;
    const int is_read =
        (count < 1u || text_read_u32(words[0], &inferences)) && (count < 2u || text_read_u32(words[1], &warmups));
    if (!is_read || count > 2u || inferences == 0u) {
        text_put("e-[infer takes a number of inferences, 1 or more, and one of warmups]\r\n");
        return;
    }
    if (buffer_bytes() != mlperf_task.raw_bytes) {
        text_put("e-[The model takes ");
        text_put_u64(mlperf_task.raw_bytes);
        text_put(" bytes, loaded are ");
        text_put_u64(buffer_bytes());
        text_put("]\r\n");
        return;
    }
    put_number("m-warmup-start-", warmups);
    warm_up(warmups);
    text_put("m-warmup-done\r\n");
    put_number("m-infer-start-", inferences);
    put_time();
    if (!infer(inferences)) {
        text_put("e-[An inference takes more ticks than the board's counter counts]\r\n");
    }
    put_time();
    text_put("m-infer-done\r\n");
    mlperf_task.evaluate();
    has_results = 1;
    put_results();
}

void benchmark_results(char *const *words, uint8_t count)
{
    (void)words;
    (void)count;
    if (has_results) {
        put_results();
    } else {
        text_put("e-[There are no results before an inference]\r\n");
    }
}

void benchmark_timestamp(char *const *words, uint8_t count)
{
    (void)words;
    (void)count;
    put_time();
}
