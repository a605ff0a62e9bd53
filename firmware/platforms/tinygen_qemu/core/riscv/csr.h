/* Control and status registers of RISC-V, by name. */
#ifndef TINYGEN_QEMU_CSR_H
#define TINYGEN_QEMU_CSR_H

#include <stdint.h>

/* Every core has these instructions; newer assemblers want to be told. */
#define CSR_ASM(text) ".option push\n\t.option arch, +zicsr\n\t" text "\n\t.option pop"

#define CSR_READ(name)                                                                                                 \
    __extension__({                                                                                                    \
        uint32_t value_;                                                                                               \
        __asm volatile(CSR_ASM("csrr %0, " #name) : "=r"(value_));                                                     \
        value_;                                                                                                        \
    })

#define CSR_WRITE(name, value) __asm volatile(CSR_ASM("csrw " #name ", %0") : : "r"(value) : "memory")

#endif
