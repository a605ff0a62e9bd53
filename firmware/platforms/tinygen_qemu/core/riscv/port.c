/* The runner's port to RISC-V boards in QEMU. BOARD_CLOCK_HZ, BOARD_BAUD and UART_IRQ come from the board file. */
#include "runner/port.h"

#include "../uart.h"
#include "csr.h"

/* The platform's interrupt controller, with what belongs to the machine mode of the first core. */
#define PLIC_PRIORITY ((volatile uint32_t *)0x0C000000u)
#define PLIC_ENABLE ((volatile uint32_t *)0x0C002000u)
#define PLIC_CLAIM (*(volatile uint32_t *)0x0C200004u) /* read: an interrupt that is pending no longer; write: it is over */

#define MIE_EXTERNAL (1u << 11)

extern uint8_t linker_bss_end[];

void port_init(void)
{
    uart_init(BOARD_CLOCK_HZ, BOARD_BAUD);
    PLIC_PRIORITY[UART_IRQ] = 1;
    PLIC_ENABLE[UART_IRQ / 32] = 1u << (UART_IRQ % 32);
    CSR_WRITE(mie, MIE_EXTERNAL);
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
    /* The interrupt ends WFI without being taken. One that arrives after the check is pending by then, so it is not
     * slept through. */
    PLIC_CLAIM = PLIC_CLAIM;
    if (!uart_has_byte()) {
        __asm volatile("wfi" ::: "memory");
    }
}

uint32_t port_tick_hz(void)
{
    return 0;
}

uint8_t port_flags(void)
{
    return PORT_EMULATED_TICKS;
}

uint8_t *port_stack_floor(void)
{
    return linker_bss_end;
}
