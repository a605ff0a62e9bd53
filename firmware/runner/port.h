/* What the runner needs from a board. Each port implements these functions; nothing else touches hardware.
 * An int has 16 bits on some boards, and an interrupt may use the stack at any time. */
#ifndef TINYGEN_RUNNER_PORT_H
#define TINYGEN_RUNNER_PORT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bits of port_flags(), as sent in the answer to HELLO. */
#define PORT_EMULATED_TICKS 0x01u /* ticks count an emulator's progress: never convert them to time */
#define PORT_EMULATED_CYCLES 0x02u /* beside it: they are the processor's cycles, as the emulator counts them */

void port_init(void);

/* The next received byte, 0 to 255, or -1 when none is waiting. Does not block. */
int port_getc(void);

/* Sends one byte; blocks while the transmitter is busy. */
void port_putc(uint8_t byte);

/* Sleeps until a byte may have arrived. May return early; returns at once when one is waiting. */
void port_idle(void);

/* Starts a measurement; port_ticks() then counts from 0. UINT32_MAX when the count no longer fits. */
void port_ticks_start(void);
uint32_t port_ticks(void);

/* Ticks per second; 0 when ticks have no relation to time. */
uint32_t port_tick_hz(void);

uint8_t port_flags(void);

/* Called with 1 right before the model runs, and with 0 right after: for a pin that a meter of energy sees. A port may
 * leave it out. */
void port_mark(int running);

/* Lowest address that the stack, growing downwards, may take; NULL when it cannot be known. */
uint8_t *port_stack_floor(void);

#ifdef __cplusplus
}
#endif

#endif
