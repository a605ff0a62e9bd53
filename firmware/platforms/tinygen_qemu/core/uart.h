/* A polled UART at UART_BASE whose receive interrupt, UART_IRQ, wakes the core from WFI and is never taken. */
#ifndef TINYGEN_QEMU_UART_H
#define TINYGEN_QEMU_UART_H

#include <stdint.h>

void uart_init(uint32_t clock_hz, uint32_t baud);
int uart_getc(void); /* -1 when nothing has arrived */
int uart_has_byte(void);
void uart_putc(uint8_t byte);

#endif
