/* An AVR in simavr, whose USART0 is a terminal that the caller has opened:
 *
 *     simavr_uart PROCESSOR DESCRIPTOR FIRMWARE.elf
 *
 * It runs as fast as this computer can, and takes no time of it while the processor sleeps and nobody writes. */
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <simavr/avr_uart.h>
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>

#define PATIENCE_MS 100  /* of a sleep: then the processor's time goes on */
#define BETWEEN_LOOKS 512 /* instructions */
#define LONG_SLEEP 1000   /* cycles; less, and the processor waits for something of its own */

static int terminal;
static avr_irq_t *input;
static int may_send; /* the emulated USART has room */

static void on_byte(avr_irq_t *irq, uint32_t value, void *unused)
{
    (void)irq;
    (void)unused;
    const uint8_t byte = (uint8_t)value;
    while (write(terminal, &byte, 1) == 0) {
    }
}

static void on_room(avr_irq_t *irq, uint32_t value, void *has_room)
{
    (void)irq;
    (void)value;
    may_send = has_room != NULL;
}

static void pass_on(int wait_ms)
{
    struct pollfd waiting = {.fd = terminal, .events = POLLIN};
    uint8_t byte;
    if (may_send && poll(&waiting, 1, wait_ms) > 0 && read(terminal, &byte, 1) == 1) {
        avr_raise_irq(input, byte);
    }
}

static void on_sleep(avr_t *avr, avr_cycle_count_t cycles)
{
    (void)avr;
    pass_on(cycles >= LONG_SLEEP ? PATIENCE_MS : 0);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: simavr_uart PROCESSOR DESCRIPTOR FIRMWARE.elf\n");
        return 2;
    }
    terminal = atoi(argv[2]);
    elf_firmware_t firmware;
    memset(&firmware, 0, sizeof firmware);
    avr_t *avr = avr_make_mcu_by_name(argv[1]);
    if (avr == NULL || elf_read_firmware(argv[3], &firmware) != 0) {
        fprintf(stderr, avr == NULL ? "simavr knows no %s\n" : "not firmware for a %s\n", argv[1]);
        return 1;
    }
    avr_init(avr);
    avr->log = LOG_ERROR;
    firmware.frequency = 16000000; /* means nothing: time here is cycles */
    avr_load_firmware(avr, &firmware);
    avr->sleep = on_sleep;

    uint32_t flags = 0;
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    input = avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT), on_byte, NULL);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XON), on_room, &may_send);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XOFF), on_room, NULL);

    for (uint32_t count = 0;; count++) {
        const int state = avr_run(avr);
        if (state == cpu_Done || state == cpu_Crashed) {
            fprintf(stderr, "the processor stopped at 0x%x\n", (unsigned)avr->pc);
            return 1;
        }
        if (count % BETWEEN_LOOKS == 0) {
            pass_on(0);
        }
    }
}
