/* The conversation between a host and a board: the host asks, the board answers.
 *
 * Numbers are little endian. An answer has the request's sequence number and its type | 0x80. The host repeats a
 * request, unchanged, until it is answered; a repeat is answered from memory, never executed twice. A frame that
 * arrives damaged is answered with NAK at once.
 *
 *   type              request payload                           answer payload
 *   0x01 HELLO        nonce u32                                 nonce u32, version u8, flags u8 (see port.h),
 *                                                               max payload u16, tick_hz u32, layers u32,
 *                                                               arena bytes u32, inputs u8, outputs u8,
 *                                                               sha256 of the model file, 32 bytes;
 *                                                               name, the rest, cut where it does not fit
 *   0x02 PORT         direction u8 (0 input, 1 output),         bytes u32
 *                     index u8
 *   0x03 LOAD         input u8, offset u32, data, the rest      -
 *   0x04 INVOKE       -                                         ticks u32, 0xFFFFFFFF when too many to count
 *   0x05 READ         output u8, offset u32, length u16         data
 *   0x06 RUN_LAYER    layer u32                                 crc32 of its output u32, ticks u32, bytes u32
 *   0x07 READ_LAYER   offset u32, length u16                    data, of the layer that ran last
 *   0x08 RESET        -                                         -
 *   0x09 STACK        -                                         bytes u32 that the last INVOKE used below the
 *                                                               runner's own frame, 0xFFFFFFFF when not known
 *   0x0A READ_STATE   offset u32, length u16                    data, of what goes from one INVOKE to the next
 *   0x0B WRITE_STATE  offset u32, data, the rest                -
 *   0x0C SELECT       name, the rest                            -, and all else is about the model of that name
 *   0x0D LISTEN       samples s16, the rest                     samples u32 that were taken, ticks u32, due u8: 1 when
 *                                                               they brought a result, 0 when all were taken;
 *                                                               word u8: which was heard with it, 0xFF for none
 *
 *   0xE0 ERROR        instead of an answer:                     request type u8, error u8 (see below)
 *   0xE1 NAK          seq 0: a damaged frame arrived            -
 *   0xE2 FAULT        seq 0, again for each further request:    number u32, pc u32, status u32, address u32
 *                     the processor stopped on a fault
 *
 * Order: inputs are loaded front to back, input 0 first; LOAD of input 0 at offset 0 starts over. With all of them
 * loaded, either INVOKE or RUN_LAYER 0, 1, 2 ... may follow, once. READ is for after INVOKE or the last layer. An input
 * that comes in rows is fed to the model as LOAD brings them; the ticks of INVOKE, and of layer 0, are those of it, too.
 * READ_LAYER is for after RUN_LAYER. LISTEN is for models with a front end, and goes on where the last one ended; a
 * result that is due can be READ. It forgets loaded inputs, and LOAD what was heard, so RESET comes between them. RESET, WRITE_STATE and SELECT forget loaded inputs and outputs. Everything else is
 * BAD_STATE.
 *
 * HELLO keeps its number and its payload up to `version` in all versions to come. */
#ifndef TINYGEN_RUNNER_PROTOCOL_H
#define TINYGEN_RUNNER_PROTOCOL_H

#include <stdint.h>

#include "model.h"

#define PROTOCOL_VERSION 1u

#define PROTOCOL_HELLO 0x01u
#define PROTOCOL_PORT 0x02u
#define PROTOCOL_LOAD 0x03u
#define PROTOCOL_INVOKE 0x04u
#define PROTOCOL_READ 0x05u
#define PROTOCOL_RUN_LAYER 0x06u
#define PROTOCOL_READ_LAYER 0x07u
#define PROTOCOL_RESET 0x08u
#define PROTOCOL_STACK 0x09u
#define PROTOCOL_READ_STATE 0x0Au
#define PROTOCOL_WRITE_STATE 0x0Bu
#define PROTOCOL_SELECT 0x0Cu
#define PROTOCOL_LISTEN 0x0Du
#define PROTOCOL_ANSWER 0x80u
#define PROTOCOL_ERROR 0xE0u
#define PROTOCOL_NAK 0xE1u
#define PROTOCOL_FAULT 0xE2u

typedef enum {
    PROTOCOL_OK = 0,
    PROTOCOL_UNKNOWN_REQUEST = 1,
    PROTOCOL_BAD_LENGTH = 2,   /* the payload is not as long as the request needs */
    PROTOCOL_BAD_INDEX = 3,    /* no such input, output, layer or model */
    PROTOCOL_OUT_OF_RANGE = 4, /* offset and length leave the buffer, or length the largest payload */
    PROTOCOL_BAD_STATE = 5,    /* not in this order; also what a restarted board says */
    PROTOCOL_STACK_OVERFLOW = 6 /* the model ran, and the stack reached its floor: results are worthless */
} protocol_error_t;

/* Number, program counter, status and address of a processor fault; 0 where there is no such thing. */
typedef struct {
    uint32_t number;
    uint32_t pc;
    uint32_t status;
    uint32_t address;
} protocol_fault_t;

/* `models` stay in use; the first is talked about until another is selected. */
void protocol_init(const model_t *const *models, uint8_t count);

/* One received byte. May run the model, and sends the answer through port_putc(). */
void protocol_receive(uint8_t byte);

/* Called by a port when the processor faulted, with a stack that works: reports it, now and for each further
 * request. Never returns. */
void protocol_fault(const protocol_fault_t *fault);

#endif
