/* The USART of STM32F1, F2 and F4. Pins and clocks are not set up: QEMU has none. */
#include "uart.h"

typedef struct {
    uint32_t status;
    uint32_t data;
    uint32_t divider;
    uint32_t control;
} uart_registers_t;

#define UART ((volatile uart_registers_t *)UART_BASE)

#define STATUS_RX_FULL 0x20u
#define STATUS_TX_EMPTY 0x80u
#define CONTROL_RX 0x0004u
#define CONTROL_TX 0x0008u
#define CONTROL_RX_INTERRUPT 0x0020u
#define CONTROL_ENABLE 0x2000u

void uart_init(uint32_t clock_hz, uint32_t baud)
{
    UART->divider = clock_hz / baud;
    UART->control = CONTROL_ENABLE | CONTROL_TX | CONTROL_RX | CONTROL_RX_INTERRUPT;
    (void)UART->data; /* tells QEMU that there is room */
}

int uart_has_byte(void)
{
    return (UART->status & STATUS_RX_FULL) != 0;
}

int uart_getc(void)
{
    return uart_has_byte() ? (int)(UART->data & 0xFFu) : -1;
}

void uart_putc(uint8_t byte)
{
    while (!(UART->status & STATUS_TX_EMPTY)) {
    }
    UART->data = byte;
}
