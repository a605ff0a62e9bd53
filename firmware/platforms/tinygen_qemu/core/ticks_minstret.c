/* RISC-V's counter of retired instructions, which in QEMU is exact. */
#include <stdint.h>

#include "riscv/csr.h"
#include "runner/port.h"

static uint64_t started;

static uint64_t retired(void)
{
    uint32_t high, low;
    do {
        high = CSR_READ(minstreth);
        low = CSR_READ(minstret);
    } while (high != CSR_READ(minstreth));
    return (uint64_t)high << 32 | low;
}

void port_ticks_start(void)
{
    started = retired();
}

uint32_t port_ticks(void)
{
    const uint64_t ticks = retired() - started;
    return ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks;
}
