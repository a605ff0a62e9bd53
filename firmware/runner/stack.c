#include "stack.h"

#include <stddef.h>

#include "port.h"

#define PAINT 0xA5u
#define MARGIN 64u /* left alone below the caller's frame: that of stack_paint() itself, and of an interrupt */
#define GUARD 8u   /* painted bytes at the floor; with one of them changed, the stack has overflowed */

/* Painting more would take long on a board with megabytes of RAM, and no model comes near. */
#define PAINT_LIMIT 32768u

static volatile uint8_t *painted;       /* lowest painted address; NULL before the first paint */
static volatile uint8_t *painted_end;

static void paint(volatile uint8_t *from, const volatile uint8_t *to)
{
    while (from < to) {
        *from++ = PAINT;
    }
}

__attribute__((noinline)) void stack_paint(void)
{
    uint8_t *const top = (uint8_t *)__builtin_dwarf_cfa(); /* the stack pointer at the call, where frames differ */
    volatile uint8_t *const floor = port_stack_floor();
    painted = NULL;
    if (floor == NULL || (uintptr_t)top < (uintptr_t)floor + MARGIN + 2u * GUARD) {
        return;
    }
    const uintptr_t room = (uintptr_t)top - MARGIN - (uintptr_t)floor;
    painted_end = top - MARGIN;
    painted = room > PAINT_LIMIT ? painted_end - PAINT_LIMIT : floor;
    paint(floor, floor + GUARD);
    paint(painted, painted_end);
}

uint32_t stack_used(void)
{
    const volatile uint8_t *at = painted;
    if (at == NULL || *at != PAINT) {
        return STACK_UNKNOWN;
    }
    while (at < painted_end && *at == PAINT) {
        at++;
    }
    return (uint32_t)((uintptr_t)painted_end - (uintptr_t)at) + MARGIN;
}

uint8_t stack_overflowed(void)
{
    const volatile uint8_t *const floor = port_stack_floor();
    if (painted == NULL) {
        return 0;
    }
    for (uint8_t i = 0; i < GUARD; i++) {
        if (floor[i] != PAINT) {
            return 1;
        }
    }
    return 0;
}
