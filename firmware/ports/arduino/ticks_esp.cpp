/* Ticks of the processor's clock, from the cycle counter of Espressif's cores. */
#include <Arduino.h>

#include "../runner/port.h"

static uint32_t started_cycles;
static uint32_t started_ms;

void port_ticks_start(void)
{
    started_ms = static_cast<uint32_t>(millis());
    started_cycles = ESP.getCycleCount();
}

uint32_t port_ticks(void)
{
    const uint32_t cycles = ESP.getCycleCount() - started_cycles;
    const uint32_t ms = static_cast<uint32_t>(millis()) - started_ms;
    const uint32_t limit_ms = UINT32_MAX / (port_tick_hz() / 1000u) - 1u;
    return ms > limit_ms ? UINT32_MAX : cycles;
}

uint32_t port_tick_hz(void)
{
    return ESP.getCpuFreqMHz() * 1000000u;
}
