/* Arm's PL011, as in RP2040. Resets, clocks and pins are not set up: rp2040js starts without. */
#include "uart.h"

#define REGISTER(offset) (*(volatile uint32_t *)(UART_BASE + (offset)))

#define DATA REGISTER(0x000u)
#define FLAGS REGISTER(0x018u)
#define BAUD_INTEGER REGISTER(0x024u)
#define BAUD_FRACTION REGISTER(0x028u)
#define LINE_CONTROL REGISTER(0x02Cu)
#define CONTROL REGISTER(0x030u)
#define INTERRUPT_MASK REGISTER(0x038u)

#define FLAG_RX_EMPTY 0x10u
#define FLAG_TX_FULL 0x20u
#define LINE_8_BITS 0x60u /* and no FIFOs: with them, not every byte interrupts */
#define CONTROL_ENABLE 0x301u /* the UART, its receiver and its transmitter */
#define INTERRUPT_RX 0x10u

void uart_init(uint32_t clock_hz, uint32_t baud)
{
    const uint32_t divisor = (4u * clock_hz + baud / 2u) / baud; /* clock / 16 baud, in 64ths */
    BAUD_INTEGER = divisor / 64u;
    BAUD_FRACTION = divisor % 64u;
    LINE_CONTROL = LINE_8_BITS;
    INTERRUPT_MASK = INTERRUPT_RX;
    CONTROL = CONTROL_ENABLE;
}

int uart_has_byte(void)
{
    return !(FLAGS & FLAG_RX_EMPTY);
}

int uart_getc(void)
{
    return uart_has_byte() ? (int)(DATA & 0xFFu) : -1;
}

void uart_putc(uint8_t byte)
{
    while (FLAGS & FLAG_TX_FULL) {
    }
    DATA = byte;
}
