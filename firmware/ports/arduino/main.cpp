/* The runner as a sketch: it serves models over a serial port; runner/protocol.h says how. */
#include <Arduino.h>

#include "../runner/port.h"

extern "C" {
#include "../runner/model.h"
#include "../runner/protocol.h"
}

void setup()
{
    port_init();
    protocol_init(runner_models, runner_model_count);
}

void loop()
{
    const int byte = port_getc();
    if (byte < 0) {
        port_idle();
    } else {
        protocol_receive(static_cast<uint8_t>(byte));
    }
}
