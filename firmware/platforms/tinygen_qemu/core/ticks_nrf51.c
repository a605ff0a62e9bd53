/* A timer of nRF51 at TICKS_BASE, counting at 16 MHz; it has to be one with 32 bits, as TIMER0 is. */
#include <stdint.h>

#include "runner/port.h"

#define REGISTER(offset) (*(volatile uint32_t *)(TICKS_BASE + (offset)))

#define TASK_START REGISTER(0x000u)
#define TASK_STOP REGISTER(0x004u)
#define TASK_CLEAR REGISTER(0x00Cu)
#define TASK_CAPTURE REGISTER(0x040u) /* the count, into CAPTURED */
#define EVENT_LIMIT REGISTER(0x144u)  /* the count has been LIMIT */
#define BIT_MODE REGISTER(0x508u)
#define CAPTURED REGISTER(0x540u)
#define LIMIT REGISTER(0x544u)

#define BIT_MODE_32 3u

void port_ticks_start(void)
{
    TASK_STOP = 1;
    BIT_MODE = BIT_MODE_32;
    LIMIT = UINT32_MAX;
    TASK_CLEAR = 1;
    EVENT_LIMIT = 0;
    TASK_START = 1;
}

uint32_t port_ticks(void)
{
    TASK_CAPTURE = 1;
    const uint32_t ticks = CAPTURED;
    TASK_STOP = 1;
    return EVENT_LIMIT ? UINT32_MAX : ticks;
}
