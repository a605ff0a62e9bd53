/* Frames on a byte stream: COBS between zero bytes, with a CRC-32 at the end.
 *
 *     0x00  COBS( type u8, seq u8, payload, crc32 of all before, little endian )  0x00
 *
 * The zero in front ends whatever noise came before the frame; empty frames mean nothing. */
#ifndef TINYGEN_RUNNER_FRAME_H
#define TINYGEN_RUNNER_FRAME_H

#include <stdint.h>

#define FRAME_HEADER 2u
#define FRAME_CRC 4u

/* Largest payload in bytes. A board with little RAM may define it smaller, but not under 128. */
#ifndef FRAME_MAX_PAYLOAD
#define FRAME_MAX_PAYLOAD 240u
#endif

#define FRAME_MAX (FRAME_HEADER + FRAME_MAX_PAYLOAD + FRAME_CRC)

typedef enum {
    FRAME_PENDING, /* no frame yet */
    FRAME_READY,   /* bytes[0 .. length) is a frame with a good CRC, without the CRC, until the next call */
    FRAME_BROKEN   /* a frame ended, and was damaged or too long */
} frame_status_t;

typedef struct {
    uint8_t bytes[FRAME_MAX];
    uint16_t length;
    uint32_t crc;      /* of the last FRAME_READY */
    uint8_t code;      /* COBS code of the current block; 0 before the first */
    uint8_t remaining; /* bytes left in the current block */
    uint8_t overflow;
} frame_receiver_t;

/* CRC-32 (IEEE 802.3, as zlib): start with 0, and pass the result on to continue. */
uint32_t frame_crc32(uint32_t crc, const uint8_t *bytes, uint32_t count);

void frame_receiver_init(frame_receiver_t *receiver);
frame_status_t frame_receive(frame_receiver_t *receiver, uint8_t byte);

/* Sends bytes[0 .. length), header and payload; `bytes` has room for FRAME_CRC more, which are written. */
void frame_send(uint8_t *bytes, uint16_t length, void (*put)(uint8_t byte));

/* Little-endian numbers in payloads, at any address. */
void frame_put_u16(uint8_t *at, uint16_t value);
void frame_put_u32(uint8_t *at, uint32_t value);
uint16_t frame_get_u16(const uint8_t *at);
uint32_t frame_get_u32(const uint8_t *at);

#endif
