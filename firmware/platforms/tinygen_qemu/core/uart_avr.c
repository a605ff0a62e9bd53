/* USART0 of an ATmega, whose receive interrupt is what ends a sleep: it keeps the bytes until they are asked for.
 * The host waits for an answer before it says more than the buffer holds; a byte too many is lost, as on any board. */
#include "uart.h"

#include <avr/interrupt.h>
#include <avr/io.h>

#if defined(USART0_RX_vect)
#define RECEIVED USART0_RX_vect
#else
#define RECEIVED USART_RX_vect /* of a processor that has only one */
#endif

#define BUFFER 64u /* a power of two */

static volatile uint8_t buffer[BUFFER];
static volatile uint8_t head;
static volatile uint8_t tail;

ISR(RECEIVED)
{
    const uint8_t byte = UDR0;
    if ((uint8_t)(head - tail) < BUFFER) {
        buffer[head % BUFFER] = byte;
        head++;
    }
}

void uart_init(uint32_t clock_hz, uint32_t baud)
{
    UBRR0 = (uint16_t)(clock_hz / (8u * baud) - 1u);
    UCSR0A = 1u << U2X0;
    UCSR0C = (1u << UCSZ01) | (1u << UCSZ00);
    UCSR0B = (1u << RXCIE0) | (1u << RXEN0) | (1u << TXEN0);
}

int uart_has_byte(void)
{
    return head != tail;
}

int uart_getc(void)
{
    return uart_has_byte() ? buffer[tail++ % BUFFER] : -1;
}

void uart_putc(uint8_t byte)
{
    while (!(UCSR0A & (1u << UDRE0))) {
    }
    UDR0 = byte;
}
