/* Text over the port's serial line. Nothing here needs printf(), which few small C libraries have with floats. */
#ifndef TINYGEN_MLPERF_TEXT_H
#define TINYGEN_MLPERF_TEXT_H

#include <stdint.h>

void text_put(const char *text);
void text_put_u64(uint64_t value);
void text_put_hex(uint8_t byte);

/* With three digits behind the point, rounded as printf("%.3f") does it. Magnitudes from 2^53 on are "inf". */
void text_put_float(float value);

/* Reads a decimal number up to the end of the text; 0 where it is none, or does not fit. */
int text_read_u32(const char *text, uint32_t *value);

/* Value of a hexadecimal digit; -1 for anything else. */
int text_hex_digit(char digit);

#endif
