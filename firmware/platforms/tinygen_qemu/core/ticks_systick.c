/* Cortex-M's own timer, SysTick, counting down from 2^24 at the processor's clock. It starts with each measurement, so
 * the same work takes the same ticks. */
#include <stdint.h>

#include "runner/port.h"

typedef struct {
    uint32_t control;
    uint32_t reload;
    uint32_t value; /* any write clears it, and the flag */
} systick_registers_t;

#define SYSTICK ((volatile systick_registers_t *)TICKS_BASE)

#define CONTROL_ENABLE 0x1u
#define CONTROL_PROCESSOR_CLOCK 0x4u
#define CONTROL_WRAPPED 0x10000u /* cleared by reading */
#define LIMIT 0xFFFFFFu

void port_ticks_start(void)
{
    SYSTICK->control = CONTROL_PROCESSOR_CLOCK;
    SYSTICK->reload = LIMIT;
    SYSTICK->value = 0;
    SYSTICK->control = CONTROL_PROCESSOR_CLOCK | CONTROL_ENABLE;
}

uint32_t port_ticks(void)
{
    const uint32_t left = SYSTICK->value;
    const uint32_t wrapped = SYSTICK->control & CONTROL_WRAPPED;
    SYSTICK->control = CONTROL_PROCESSOR_CLOCK; /* a running timer would keep an idle emulator busy */
    return wrapped ? UINT32_MAX : LIMIT - left;
}
