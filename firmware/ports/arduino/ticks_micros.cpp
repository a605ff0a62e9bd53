/* Ticks of a microsecond, as exact as the framework's micros(). */
#include <Arduino.h>

#include "../runner/port.h"

static const uint32_t LIMIT_MS = 4000000; /* before micros() starts over, after 71 minutes */

static uint32_t started_us;
static uint32_t started_ms;

void port_ticks_start(void)
{
    started_ms = static_cast<uint32_t>(millis());
    started_us = static_cast<uint32_t>(micros());
}

uint32_t port_ticks(void)
{
    const uint32_t us = static_cast<uint32_t>(micros()) - started_us;
    return static_cast<uint32_t>(millis()) - started_ms > LIMIT_MS ? UINT32_MAX : us;
}

uint32_t port_tick_hz(void)
{
    return 1000000;
}
