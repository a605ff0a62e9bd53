/* Serves models to a host over a serial port; protocol.h says how. */
#include "model.h"
#include "port.h"
#include "protocol.h"

int main(void)
{
    port_init();
    protocol_init(runner_models, runner_model_count);
    for (;;) {
        const int byte = port_getc();
        if (byte < 0) {
            port_idle();
        } else {
            protocol_receive((uint8_t)byte);
        }
    }
}
