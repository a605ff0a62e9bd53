/* Cycles: Timer 1, of 16 bits, and an interrupt at each overflow, which takes some 40 of 65536 cycles. */
#include <avr/interrupt.h>
#include <avr/io.h>

#include "runner/port.h"

static volatile uint32_t overflows;

ISR(TIMER1_OVF_vect)
{
    overflows++;
}

void port_ticks_start(void)
{
    TCCR1B = 0;
    TCCR1A = 0;
    TCNT1 = 0;
    TIFR1 = 1u << TOV1;
    TIMSK1 = 1u << TOIE1;
    overflows = 0;
    TCCR1B = 1u << CS10;
}

uint32_t port_ticks(void)
{
    cli();
    const uint16_t low = TCNT1;
    const int pending = (TIFR1 & (1u << TOV1)) && low < 0x8000u; /* it overflowed since, before it was read */
    TCCR1B = 0;
    TIMSK1 = 0;
    sei();
    const uint32_t high = overflows + (pending ? 1u : 0u);
    return high > 0xFFFFu ? UINT32_MAX : high << 16 | low;
}
