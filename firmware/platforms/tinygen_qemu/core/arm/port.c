/* The runner's port to emulated Cortex-M boards. BOARD_CLOCK_HZ, BOARD_BAUD and UART_IRQ come from the board file. */
#include "runner/port.h"

#include "../uart.h"

#define NVIC_ENABLE ((volatile uint32_t *)0xE000E100u)
#define NVIC_CLEAR_PENDING ((volatile uint32_t *)0xE000E280u)
#define IRQ_WORD (UART_IRQ / 32)
#define IRQ_BIT (1u << (UART_IRQ % 32))

extern uint8_t linker_bss_end[];

void port_init(void)
{
    uart_init(BOARD_CLOCK_HZ, BOARD_BAUD);
    NVIC_ENABLE[IRQ_WORD] = IRQ_BIT;
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
    /* PRIMASK is set since start-up: the interrupt ends WFI without being taken. One that arrives after the check
     * is pending by then, so it is not slept through. */
    NVIC_CLEAR_PENDING[IRQ_WORD] = IRQ_BIT;
    if (!uart_has_byte()) {
        __asm volatile("dsb\n\twfi" ::: "memory");
    }
}

uint32_t port_tick_hz(void)
{
    return 0;
}

uint8_t port_flags(void)
{
    return PORT_EMULATED_TICKS | (TICKS_ARE_CYCLES ? PORT_EMULATED_CYCLES : 0u);
}

uint8_t *port_stack_floor(void)
{
    return linker_bss_end;
}
