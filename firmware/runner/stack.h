/* How deep the stack went: paint it, run something, look how much paint is gone. */
#ifndef TINYGEN_RUNNER_STACK_H
#define TINYGEN_RUNNER_STACK_H

#include <stdint.h>

#define STACK_UNKNOWN UINT32_MAX

/* Paints the free stack below the caller's frame: what is measured counts from there. */
void stack_paint(void);

/* Bytes below that frame that have been used since, by the caller's callees or by interrupts.
 * STACK_UNKNOWN when nothing was painted or the use went beyond the paint. */
uint32_t stack_used(void);

/* Nonzero when the use reached the stack's floor: what lies below may be damaged. */
uint8_t stack_overflowed(void);

#endif
