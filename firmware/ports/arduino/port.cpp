/* The runner's port to the Arduino framework. board.h says which serial port it is; ticks are in a file of their own.
 *
 * Nothing waits for a host: one that comes later, or again after the port went away, finds the runner as it was. */
#include <stddef.h>

#include "../runner/port.h"
#include "board.h"

void port_init(void)
{
    BOARD_SERIAL.begin(BOARD_BAUD);
#ifdef BOARD_MARKER
    pinMode(BOARD_MARKER, OUTPUT);
    digitalWrite(BOARD_MARKER, LOW);
#endif
}

int port_getc(void)
{
    return BOARD_SERIAL.available() > 0 ? BOARD_SERIAL.read() : -1;
}

void port_putc(uint8_t byte)
{
    static uint8_t before = BOARD_LAST_BYTE;
    BOARD_SERIAL.write(byte);
    if (byte == BOARD_LAST_BYTE && before != BOARD_LAST_BYTE) { /* USB would keep what does not fill a packet */
        BOARD_SERIAL.flush();
    }
    before = byte;
}

#ifdef BOARD_MARKER /* a pin that is high while the model runs */
void port_mark(int running)
{
    digitalWrite(BOARD_MARKER, running ? HIGH : LOW);
}
#endif

/* A millisecond is less than the receive buffers of all cores hold, and lets a system's idle task run. */
void port_idle(void)
{
    delay(1);
}

uint8_t port_flags(void)
{
    return 0;
}

/* A system's threads have stacks of their own, and a heap may grow towards the only one: how far is not known. */
uint8_t *port_stack_floor(void)
{
    return NULL;
}
