/* The buffer that the host fills with raw data, in hexadecimal: `db` and what follows it. */
#ifndef TINYGEN_MLPERF_BUFFER_H
#define TINYGEN_MLPERF_BUFFER_H

#include <stdint.h>

/* `words` are what follows `db`, `count` of them. */
void buffer_command(char *const *words, uint8_t count);

/* Bytes that the host announced and that have all come; 0 before that. */
uint32_t buffer_bytes(void);

#endif
