/* Start-up and faults for RV32 in machine mode. No interrupt is ever taken: mstatus.MIE is 0 after reset and stays 0. */
#include <stdint.h>

#include "csr.h"
#include "runner/port.h"
#include "runner/protocol.h"

extern uint32_t linker_data_load[], linker_data_start[], linker_data_end[], linker_bss_start[], linker_bss_end[];

/* For each further region of memory that has content: where it comes from, where it goes, and how many bytes; memory
 * without content comes from nowhere. */
typedef struct {
    const uint32_t *from;
    uint32_t *to;
    uint32_t bytes;
} startup_copy_t;
extern const startup_copy_t linker_copies[], linker_copies_end[];

int main(void);
void startup_reset(void);
void startup_trap(void);

#define MSTATUS_VECTORS (1u << 9) /* on, and in their first state */

#define FAULT_NUMBER 0x100u /* added to mcause: other processors have numbers of their own */

static protocol_fault_t fault;

/* The first instruction of the firmware. `tp` is where the C library keeps errno. */
__attribute__((section(".vectors"), naked, used)) void startup_reset(void)
{
    __asm volatile("la sp, linker_stack_top\n\t"
                   "la tp, linker_tls\n\t"
                   "j startup_main");
}

__attribute__((used, noreturn)) static void startup_main(void)
{
    CSR_WRITE(mtvec, (uint32_t)(uintptr_t)startup_trap);
    CSR_WRITE(mstatus, MSTATUS_VECTORS); /* reads back as 0 where there are none */
    const uint32_t *from = linker_data_load;
    for (uint32_t *to = linker_data_start; to < linker_data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = linker_bss_start; to < linker_bss_end;) {
        *to++ = 0;
    }
    for (const startup_copy_t *copy = linker_copies; copy < linker_copies_end; copy++) {
        for (uint32_t i = 0; i < copy->bytes / 4; i++) {
            copy->to[i] = copy->from ? copy->from[i] : 0;
        }
    }
    main();
    for (;;) {
    }
}

__attribute__((used, noreturn)) static void record_fault(void)
{
    fault.number = FAULT_NUMBER + CSR_READ(mcause);
    fault.pc = CSR_READ(mepc);
    fault.status = CSR_READ(mstatus);
    fault.address = CSR_READ(mtval);
    (void)port_ticks(); /* stops the timer, should a measurement be going on */
    protocol_fault(&fault);
    for (;;) {
    }
}

/* With a fresh stack: the one at the fault may have been the reason. */
__attribute__((naked, aligned(4))) void startup_trap(void)
{
    __asm volatile("la sp, linker_stack_top\n\t"
                   "j record_fault");
}
