/* Ticks of the processor's clock, from the cycle counter of Armv7-M's and Armv8-M's debug unit (DWT); of a microsecond
 * where that does not move, as on processors without it. */
#include "../runner/port.h"
#include "board.h"

#define DEMCR (*reinterpret_cast<volatile uint32_t *>(0xE000EDFCu))
#define DWT_CTRL (*reinterpret_cast<volatile uint32_t *>(0xE0001000u))
#define DWT_CYCCNT (*reinterpret_cast<volatile uint32_t *>(0xE0001004u))
#define DWT_LAR (*reinterpret_cast<volatile uint32_t *>(0xE0001FB0u))

static const uint32_t DEMCR_TRACE = 1u << 24;
static const uint32_t DWT_COUNTS = 1u << 0;
static const uint32_t UNLOCK = 0xC5ACCE55u; /* a Cortex-M7 refuses writes to the unit before */

static uint32_t started_cycles;
static uint32_t started_us;
static uint32_t started_ms;

static bool counts(void)
{
    DEMCR |= DEMCR_TRACE;
    DWT_LAR = UNLOCK;
    DWT_CTRL |= DWT_COUNTS;
    const uint32_t before = DWT_CYCCNT;
    for (volatile int i = 0; i < 4; i = i + 1) {
    }
    return DWT_CYCCNT != before;
}

/* Found out once. */
static bool uses_cycles(void)
{
    static const bool found = counts();
    return found;
}

void port_ticks_start(void)
{
    (void)uses_cycles();
    started_ms = static_cast<uint32_t>(millis());
    started_us = static_cast<uint32_t>(micros());
    started_cycles = DWT_CYCCNT;
}

uint32_t port_ticks(void)
{
    const uint32_t cycles = DWT_CYCCNT - started_cycles;
    const uint32_t us = static_cast<uint32_t>(micros()) - started_us;
    const uint32_t ms = static_cast<uint32_t>(millis()) - started_ms;
    const uint32_t limit_ms = UINT32_MAX / (port_tick_hz() / 1000u) - 1u;
    return ms > limit_ms ? UINT32_MAX : uses_cycles() ? cycles : us;
}

uint32_t port_tick_hz(void)
{
    return uses_cycles() ? static_cast<uint32_t>(F_CPU) : 1000000u;
}
