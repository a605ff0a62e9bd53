/* The runner's port to AVR boards in simavr. BOARD_CLOCK_HZ and BOARD_BAUD come from the board file. Start-up and memory
 * layout are avr-libc's. */
#include "runner/port.h"

#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>

#include "../uart.h"

extern uint8_t __heap_start[]; /* where the C library's linker script ends static data; there is no heap */

void port_init(void)
{
    uart_init(BOARD_CLOCK_HZ, BOARD_BAUD);
    sei();
}

int port_getc(void)
{
    return uart_getc();
}

void port_putc(uint8_t byte)
{
    uart_putc(byte);
}

void port_idle(void)
{
    /* The instruction after SEI is executed before any interrupt: none can come between the check and the sleep. */
    cli();
    if (!uart_has_byte()) {
        SMCR = 1u << SE; /* idle: the clocks of USART and timer go on */
        sei();
        sleep_cpu();
        SMCR = 0;
    }
    sei();
}

uint32_t port_tick_hz(void)
{
    return 0;
}

uint8_t port_flags(void)
{
    return PORT_EMULATED_TICKS | PORT_EMULATED_CYCLES;
}

uint8_t *port_stack_floor(void)
{
    return __heap_start;
}
