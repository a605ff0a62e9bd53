/* Arm CMSDK APB UART, as on the MPS2 boards. */
#include "uart.h"

typedef struct {
    uint32_t data;
    uint32_t state;
    uint32_t control;
    uint32_t interrupt; /* write 1 to clear */
    uint32_t divider;
} uart_registers_t;

#define UART ((volatile uart_registers_t *)UART_BASE)

#define STATE_TX_FULL 0x1u
#define STATE_RX_FULL 0x2u
#define CONTROL_TX 0x1u
#define CONTROL_RX 0x2u
#define CONTROL_RX_INTERRUPT 0x8u
#define INTERRUPT_RX 0x2u

void uart_init(uint32_t clock_hz, uint32_t baud)
{
    UART->divider = clock_hz / baud;
    UART->control = CONTROL_TX | CONTROL_RX | CONTROL_RX_INTERRUPT;
    (void)UART->data; /* tells QEMU that there is room: without it the first byte may wait for a second */
}

int uart_has_byte(void)
{
    return (UART->state & STATE_RX_FULL) != 0;
}

int uart_getc(void)
{
    if (!uart_has_byte()) {
        return -1;
    }
    UART->interrupt = INTERRUPT_RX;
    return (int)(UART->data & 0xFFu);
}

void uart_putc(uint8_t byte)
{
    while (UART->state & STATE_TX_FULL) {
    }
    UART->data = byte;
}
