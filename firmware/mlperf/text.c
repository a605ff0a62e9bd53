#include "text.h"

#include <string.h>

#include "../runner/port.h"

#define MOST_DIGITS 20u /* of a number with 64 bits */

#define FLOAT_FRACTION_BITS 23
#define FLOAT_BIAS 127

void text_put(const char *text)
{
    while (*text != '\0') {
        port_putc((uint8_t)*text++);
    }
}

void text_put_u64(uint64_t value)
{
    char digits[MOST_DIGITS + 1u];
    uint8_t at = MOST_DIGITS;
    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + (char)(value % 10u));
        value /= 10u;
    } while (value != 0u);
    text_put(digits + at);
}

void text_put_hex(uint8_t byte)
{
    static const char digits[] = "0123456789abcdef";
    port_putc((uint8_t)digits[byte >> 4]);
    port_putc((uint8_t)digits[byte & 15u]);
}

/* Mantissa * 1000 / 2^shift, ties to even. */
static uint64_t thousandths(uint32_t mantissa, int shift)
{
    const uint64_t product = (uint64_t)mantissa * 1000u; /* less than 2^34 */
    if (shift <= 0) {
        return product << -shift;
    }
    if (shift > 35) {
        return 0;
    }
    const uint64_t whole = product >> shift;
    const uint64_t rest = product & (((uint64_t)1 << shift) - 1u);
    const uint64_t half = (uint64_t)1 << (shift - 1);
    return whole + (rest > half || (rest == half && (whole & 1u) != 0u) ? 1u : 0u);
}

void text_put_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const int exponent = (int)(bits >> FLOAT_FRACTION_BITS & 0xFFu);
    const uint32_t fraction = bits & ((1u << FLOAT_FRACTION_BITS) - 1u);
    if (exponent == 255 && fraction != 0u) {
        text_put("nan");
        return;
    }
    if (bits >> 31) {
        text_put("-");
    }
    if (exponent >= FLOAT_BIAS + 53) {
        text_put("inf");
        return;
    }
    const uint32_t mantissa = exponent == 0 ? fraction : fraction | 1u << FLOAT_FRACTION_BITS;
    const int shift = FLOAT_BIAS + FLOAT_FRACTION_BITS - (exponent == 0 ? 1 : exponent);
    const uint64_t count = thousandths(mantissa, shift);
    const uint32_t behind = (uint32_t)(count % 1000u);
    text_put_u64(count / 1000u);
    text_put(behind < 10u ? ".00" : behind < 100u ? ".0" : ".");
    text_put_u64(behind);
}

int text_read_u32(const char *text, uint32_t *value)
{
    uint32_t number = 0;
    if (*text == '\0') {
        return 0;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return 0;
        }
        const uint32_t digit = (uint32_t)(*text - '0');
        if (number > (UINT32_MAX - digit) / 10u) {
            return 0;
        }
        number = number * 10u + digit;
    }
    *value = number;
    return 1;
}

int text_hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}
