/* Serves a model to MLPerf Tiny's runner over a serial port; commands.h says how. */
#include "../runner/port.h"
#include "commands.h"

int main(void)
{
    port_init();
    commands_init();
    for (;;) {
        const int byte = port_getc();
        if (byte < 0) {
            port_idle();
        } else {
            commands_receive((uint8_t)byte);
        }
    }
}
