/* The UART of nRF51. Pins are not set up: QEMU has none.
 *
 * Writing 1 to a task starts something. An event is 1 from the moment that it happened until it is written 0. */
#include "uart.h"

#define REGISTER(offset) (*(volatile uint32_t *)(UART_BASE + (offset)))

#define TASK_START_RX REGISTER(0x000u)
#define TASK_START_TX REGISTER(0x008u)
#define EVENT_RX_READY REGISTER(0x108u)
#define EVENT_TX_READY REGISTER(0x11Cu)
#define INTERRUPT_SET REGISTER(0x304u)
#define ENABLE REGISTER(0x500u)
#define RX_DATA REGISTER(0x518u)
#define TX_DATA REGISTER(0x51Cu)
#define BAUD_RATE REGISTER(0x524u)

#define INTERRUPT_RX_READY 0x4u
#define ENABLE_UART 4u

void uart_init(uint32_t clock_hz, uint32_t baud)
{
    BAUD_RATE = baud * (UINT32_MAX / clock_hz); /* in 2^32nds of the clock; 0.2 % low, well within tolerance */
    ENABLE = ENABLE_UART;
    INTERRUPT_SET = INTERRUPT_RX_READY;
    TASK_START_TX = 1;
    TASK_START_RX = 1;
}

int uart_has_byte(void)
{
    return EVENT_RX_READY != 0;
}

int uart_getc(void)
{
    if (!uart_has_byte()) {
        return -1;
    }
    EVENT_RX_READY = 0; /* before the read, which raises it again while more bytes wait */
    return (int)(RX_DATA & 0xFFu);
}

void uart_putc(uint8_t byte)
{
    EVENT_TX_READY = 0;
    TX_DATA = byte;
    while (!EVENT_TX_READY) {
    }
}
