/* Cycles: SysTick counts those of a round, RP2040's timer at TICKS_BASE, in microseconds, tells how many rounds it was.
 *
 * A round of rp2040js's SysTick takes a cycle less than that of a real one, and begins with the flag that says that one
 * is over. */
#include <stdint.h>

#include "runner/port.h"

typedef struct {
    uint32_t control;
    uint32_t reload;
    uint32_t value; /* any write clears it */
} systick_registers_t;

#define SYSTICK ((volatile systick_registers_t *)0xE000E010u)
#define MICROSECONDS (*(volatile uint32_t *)(TICKS_BASE + 0x28u))

#define CONTROL_ENABLE 0x1u
#define CONTROL_PROCESSOR_CLOCK 0x4u
#define ROUND 0xFFFFFFu
#define CYCLES_PER_MICROSECOND (BOARD_CLOCK_HZ / 1000000u)

static uint32_t start;

void port_ticks_start(void)
{
    SYSTICK->control = CONTROL_PROCESSOR_CLOCK;
    SYSTICK->reload = ROUND;
    SYSTICK->value = 0;
    start = MICROSECONDS;
    SYSTICK->control = CONTROL_PROCESSOR_CLOCK | CONTROL_ENABLE;
}

uint32_t port_ticks(void)
{
    const uint32_t left = SYSTICK->value;
    const uint32_t took = MICROSECONDS - start;
    SYSTICK->control = CONTROL_PROCESSOR_CLOCK;
    if (took > (UINT32_MAX - ROUND) / CYCLES_PER_MICROSECOND) {
        return UINT32_MAX;
    }
    const uint32_t since = ROUND - left; /* of the last round */
    const uint32_t rounds = (took * CYCLES_PER_MICROSECOND + ROUND / 2u - since) / ROUND;
    return rounds * ROUND + since;
}
