/* Inferences on what is in the buffer, their time, and their results. `words` are what follows a command, `count` of
 * them. */
#ifndef TINYGEN_MLPERF_BENCHMARK_H
#define TINYGEN_MLPERF_BENCHMARK_H

#include <stdint.h>

void benchmark_infer(char *const *words, uint8_t count);
void benchmark_results(char *const *words, uint8_t count);
void benchmark_timestamp(char *const *words, uint8_t count);

#endif
