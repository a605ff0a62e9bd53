/* A UART like National Semiconductor's 16550, with a byte for each register. The baud rate is not set: QEMU has none. */
#include "uart.h"

typedef struct {
    uint8_t data;
    uint8_t interrupts;
    uint8_t fifo;
    uint8_t format;
    uint8_t modem;
    uint8_t status;
} uart_registers_t;

#define UART ((volatile uart_registers_t *)UART_BASE)

#define INTERRUPT_RX 0x01u
#define FORMAT_8N1 0x03u
#define STATUS_RX_FULL 0x01u
#define STATUS_TX_EMPTY 0x20u

void uart_init(uint32_t clock_hz, uint32_t baud)
{
    (void)clock_hz;
    (void)baud;
    UART->format = FORMAT_8N1;
    UART->interrupts = INTERRUPT_RX;
}

int uart_has_byte(void)
{
    return (UART->status & STATUS_RX_FULL) != 0;
}

int uart_getc(void)
{
    return uart_has_byte() ? (int)UART->data : -1;
}

void uart_putc(uint8_t byte)
{
    while (!(UART->status & STATUS_TX_EMPTY)) {
    }
    UART->data = byte;
}
