/* Arm CMSDK APB timer at TICKS_BASE, counting down at the board's clock. It starts with each measurement, so the same
 * work takes the same ticks. (The free-running counter in the FPGAIO block would be a tick off now and then.) */
#include <stdint.h>

#include "runner/port.h"

typedef struct {
    uint32_t control;
    uint32_t value;
    uint32_t reload;
    uint32_t interrupt; /* write 1 to clear */
} timer_registers_t;

#define TIMER ((volatile timer_registers_t *)TICKS_BASE)

#define CONTROL_ENABLE 0x1u
#define CONTROL_INTERRUPT 0x8u /* without it the flag stays off; the NVIC holds the interrupt back */
#define INTERRUPT_WRAPPED 0x1u

void port_ticks_start(void)
{
    TIMER->control = 0;
    TIMER->reload = UINT32_MAX;
    TIMER->value = UINT32_MAX;
    TIMER->interrupt = INTERRUPT_WRAPPED;
    TIMER->control = CONTROL_ENABLE | CONTROL_INTERRUPT;
}

uint32_t port_ticks(void)
{
    const uint32_t left = TIMER->value;
    const uint32_t wrapped = TIMER->interrupt & INTERRUPT_WRAPPED;
    TIMER->control = 0; /* a running timer would keep an idle emulator busy */
    return wrapped ? UINT32_MAX : UINT32_MAX - left;
}
