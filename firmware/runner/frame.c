#include "frame.h"

#define COBS_BLOCK 0xFFu /* code of a block of 254 bytes without a zero after it */

uint32_t frame_crc32(uint32_t crc, const uint8_t *bytes, uint32_t count)
{
    /* A nibble at a time: four times as fast as bits, and 64 bytes of table instead of 1024. */
    static const uint32_t table[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u, 0x4DB26158u, 0x5005713Cu,
        0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu, 0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
    };
    crc = ~crc;
    while (count-- > 0u) {
        crc ^= *bytes++;
        crc = (crc >> 4) ^ table[crc & 15u];
        crc = (crc >> 4) ^ table[crc & 15u];
    }
    return ~crc;
}

void frame_put_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value & 0xFFu);
    at[1] = (uint8_t)(value >> 8);
}

void frame_put_u32(uint8_t *at, uint32_t value)
{
    frame_put_u16(at, (uint16_t)(value & 0xFFFFu));
    frame_put_u16(at + 2, (uint16_t)(value >> 16));
}

uint16_t frame_get_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] | ((uint16_t)at[1] << 8));
}

uint32_t frame_get_u32(const uint8_t *at)
{
    return frame_get_u16(at) | ((uint32_t)frame_get_u16(at + 2) << 16);
}

void frame_receiver_init(frame_receiver_t *receiver)
{
    receiver->length = 0;
    receiver->code = 0;
    receiver->remaining = 0;
    receiver->overflow = 0;
}

static void append(frame_receiver_t *receiver, uint8_t byte)
{
    if (receiver->length < FRAME_MAX) {
        receiver->bytes[receiver->length++] = byte;
    } else {
        receiver->overflow = 1;
    }
}

/* A zero byte arrived: what has been decoded is a frame, or nothing. */
static frame_status_t finish(frame_receiver_t *receiver)
{
    const uint16_t received = receiver->length;
    const int empty = receiver->code == 0;
    const int whole = receiver->remaining == 0 && !receiver->overflow && received >= FRAME_HEADER + FRAME_CRC;
    frame_receiver_init(receiver);
    if (empty) {
        return FRAME_PENDING;
    }
    if (!whole) {
        return FRAME_BROKEN;
    }
    const uint16_t length = (uint16_t)(received - FRAME_CRC);
    const uint32_t crc = frame_crc32(0, receiver->bytes, length);
    if (crc != frame_get_u32(receiver->bytes + length)) {
        return FRAME_BROKEN;
    }
    receiver->length = length;
    receiver->crc = crc;
    return FRAME_READY;
}

frame_status_t frame_receive(frame_receiver_t *receiver, uint8_t byte)
{
    if (byte == 0) {
        return finish(receiver);
    }
    if (receiver->code == 0) {
        receiver->length = 0; /* a finished frame was still there for the caller */
    }
    if (receiver->remaining > 0) {
        append(receiver, byte);
        receiver->remaining--;
        return FRAME_PENDING;
    }
    if (receiver->code != 0 && receiver->code != COBS_BLOCK) {
        append(receiver, 0); /* the zero that the block before this one stood for */
    }
    receiver->code = byte;
    receiver->remaining = (uint8_t)(byte - 1u);
    return FRAME_PENDING;
}

void frame_send(uint8_t *bytes, uint16_t length, void (*put)(uint8_t byte))
{
    frame_put_u32(bytes + length, frame_crc32(0, bytes, length));
    const uint16_t end = (uint16_t)(length + FRAME_CRC);
    uint16_t start = 0;
    put(0);
    for (;;) {
        uint16_t stop = start;
        while (stop < end && bytes[stop] != 0 && stop - start < 254) {
            stop++;
        }
        const uint8_t code = (uint8_t)(stop - start + 1);
        put(code);
        while (start < stop) {
            put(bytes[start++]);
        }
        if (stop == end) {
            break; /* after a full block too: only a zero needs another one */
        }
        if (code != COBS_BLOCK) {
            start++; /* the zero that the block stands for */
        }
    }
    put(0);
}
