/* The system counter of Arm's SSE-300 subsystem: its control frame is at TICKS_BASE. It is stopped and set to 0 before
 * each measurement, so the same work takes the same ticks. */
#include <stdint.h>

#include "runner/port.h"

typedef struct {
    uint32_t control;
    uint32_t status;
    uint32_t count_low;
    uint32_t count_high;
} counter_registers_t;

#define COUNTER ((volatile counter_registers_t *)TICKS_BASE)

#define CONTROL_ENABLE 0x1u

void port_ticks_start(void)
{
    COUNTER->control = 0;
    COUNTER->count_low = 0;
    COUNTER->count_high = 0;
    COUNTER->control = CONTROL_ENABLE;
}

uint32_t port_ticks(void)
{
    COUNTER->control = 0; /* low and high belong together from here on */
    return COUNTER->count_high ? UINT32_MAX : COUNTER->count_low;
}
