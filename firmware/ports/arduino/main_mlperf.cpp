/* The same for MLPerf Tiny's runner; mlperf/commands.h says how. */
#include <Arduino.h>

#include "../runner/port.h"

extern "C" {
#include "../mlperf/commands.h"
}

void setup()
{
    port_init();
    commands_init();
}

void loop()
{
    const int byte = port_getc();
    if (byte < 0) {
        port_idle();
    } else {
        commands_receive(static_cast<uint8_t>(byte));
    }
}
