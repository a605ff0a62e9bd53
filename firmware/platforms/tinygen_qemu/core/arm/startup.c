/* Start-up and faults for Cortex-M. No interrupt is ever taken: PRIMASK is set first and stays set. */
#include <stdint.h>

#include "runner/port.h"
#include "runner/protocol.h"

extern uint32_t linker_data_load[], linker_data_start[], linker_data_end[], linker_bss_start[], linker_bss_end[];
extern uint32_t linker_stack_top[];

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
void startup_fault(void);

#define CPACR (*(volatile uint32_t *)0xE000ED88u)
#define CFSR (*(volatile uint32_t *)0xE000ED28u)
#define BFAR (*(volatile uint32_t *)0xE000ED38u)

#define XPSR_THUMB 0x01000000u
#define RETURN_TO_THREAD 0xFFFFFFF9u
#define EXCEPTION_FRAME 8 /* words: r0-r3, r12, lr, pc, xPSR */
#define FRAME_PC 6
#define FRAME_XPSR 7

static protocol_fault_t fault;

__attribute__((noreturn)) void startup_reset(void)
{
    __asm volatile("cpsid i" ::: "memory");
#ifdef __ARM_FP
    CPACR |= 0xFu << 20; /* the FPU is off after reset */
    __asm volatile("dsb\n\tisb" ::: "memory");
#endif
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

static void report_fault(void)
{
    (void)port_ticks(); /* stops the timer, should a measurement be going on */
    protocol_fault(&fault);
}

/* `frame` is the stack pointer at the fault. Leaves the handler for report_fault() with a fresh stack, because the
 * UART's interrupt could not end a WFI from inside of it. */
__attribute__((used, noreturn)) static void record_fault(const uint32_t *frame)
{
    uint32_t number;
    __asm volatile("mrs %0, ipsr" : "=r"(number));
    fault.number = number;
    fault.pc = frame[FRAME_PC];
#ifdef __ARM_ARCH_6M__
    fault.status = 0;
    fault.address = 0;
#else
    fault.status = CFSR;
    fault.address = BFAR;
#endif
    uint32_t *fresh = linker_stack_top;
    __asm("" : "+r"(fresh)); /* an address, not an array whose bounds the compiler knows */
    fresh -= EXCEPTION_FRAME;
    fresh[FRAME_PC] = (uint32_t)(uintptr_t)report_fault & ~1u;
    fresh[FRAME_XPSR] = XPSR_THUMB;
    __asm volatile("msr msp, %0\n\tbx %1" : : "r"(fresh), "r"(RETURN_TO_THREAD) : "memory");
    __builtin_unreachable();
}

__attribute__((naked)) void startup_fault(void)
{
    __asm volatile("mrs r0, msp\n\tbl record_fault");
}

/* Everything but reset ends in startup_fault: no other exception is ever enabled. */
__attribute__((section(".vectors"), used)) static const uintptr_t vectors[16] = {
    (uintptr_t)linker_stack_top, (uintptr_t)startup_reset, (uintptr_t)startup_fault, (uintptr_t)startup_fault,
    (uintptr_t)startup_fault,    (uintptr_t)startup_fault, (uintptr_t)startup_fault, (uintptr_t)startup_fault,
    (uintptr_t)startup_fault,    (uintptr_t)startup_fault, (uintptr_t)startup_fault, (uintptr_t)startup_fault,
    (uintptr_t)startup_fault,    (uintptr_t)startup_fault, (uintptr_t)startup_fault, (uintptr_t)startup_fault,
};
