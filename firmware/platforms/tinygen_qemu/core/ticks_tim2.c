/* TIM2 of STM32F2 and F4 at TICKS_BASE, as QEMU has it: 32 bits, counting at 1 GHz whether enabled or not.
 *
 * QEMU doubles the machine's time with every alarm of these timers until it overflows and hangs (seen in 7.2), so
 * there must be none: the reload register stays 0, which a real timer would not count with. Without an alarm there is
 * no overflow flag; TIM5, 65536 times slower, tells whether 2^32 ticks have passed. */
#include <stdint.h>

#include "runner/port.h"

typedef struct {
    uint32_t unused[9];
    uint32_t count;
    uint32_t prescale;
} tim_registers_t;

#define TIM2 ((volatile tim_registers_t *)TICKS_BASE)
#define TIM5 ((volatile tim_registers_t *)(TICKS_BASE + 0xC00u))

void port_ticks_start(void)
{
    TIM5->prescale = 0xFFFFu;
    TIM5->count = 0;
    TIM2->count = 0;
}

uint32_t port_ticks(void)
{
    const uint32_t ticks = TIM2->count;
    return TIM5->count > 0xFFFFu ? UINT32_MAX : ticks;
}
