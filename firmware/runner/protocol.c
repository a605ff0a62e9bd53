#include "protocol.h"

#include <stddef.h>
#include <string.h>

#include "frame.h"
#include "port.h"
#include "stack.h"

#if FRAME_MAX_PAYLOAD < 128
#error "FRAME_MAX_PAYLOAD: the answer to HELLO needs 54 bytes and a name"
#endif

#define HELLO_FIXED 54u
#define LISTEN_PIECE 32u

typedef enum {
    IDLE,    /* nothing that may run or be read */
    LOADING, /* inputs arrive */
    LOADED,  /* all inputs are there */
    RUNNING, /* some layers have run */
    DONE     /* outputs are there */
} stage_t;

static const model_t *const *models;
static uint8_t model_count;
static const model_t *model; /* the one that is talked about */
static frame_receiver_t receiver;

static stage_t stage;
static uint8_t loading;         /* input that LOAD fills */
static uint32_t loaded;         /* bytes of it */
static uint32_t layers_run;     /* one by one; 0 after INVOKE */
static const uint8_t *layer_data; /* output of the layer that ran last, NULL after anything else */
static uint32_t layer_bytes;
static uint32_t stack_mark;
static uint32_t fed_ticks; /* that rows of the input have taken */
static uint32_t fed_stack;

/* The last answer, kept to answer a repeated request, and what it answered. */
static uint8_t answer[FRAME_MAX];
static uint16_t answer_length;
static uint32_t answered_crc;

#define PAYLOAD (answer + FRAME_HEADER)

/* Of ports without such a pin. */
__attribute__((weak)) void port_mark(int running)
{
    (void)running;
}

static void forget_run(void)
{
    layers_run = 0;
    layer_data = NULL;
}

/* Inputs of no bytes need no LOAD. */
static void settle_loading(void)
{
    while (loading < model->input_count && loaded == model->inputs[loading].bytes) {
        loading++;
        loaded = 0;
    }
    stage = loading == model->input_count ? LOADED : LOADING;
}

static void start_loading(void)
{
    forget_run();
    loading = 0;
    loaded = 0;
    fed_ticks = 0;
    fed_stack = 0;
    if (model->begin != NULL) {
        model->begin();
    }
    settle_loading();
}

/* UINT32_MAX, more than can be counted, stays what it is. */
static uint32_t ticks_together(uint32_t a, uint32_t b)
{
    return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

static protocol_error_t feed(void)
{
    stack_paint();
    port_ticks_start();
    model->feed();
    fed_ticks = ticks_together(fed_ticks, port_ticks());
    const uint32_t used = stack_used();
    fed_stack = used > fed_stack ? used : fed_stack;
    return stack_overflowed() ? PROTOCOL_STACK_OVERFLOW : PROTOCOL_OK;
}

/* Input bytes that have come go into the row that they belong to; a row that is there is fed. */
static protocol_error_t load_rows(const model_input_t *input, const uint8_t *bytes, uint32_t count)
{
    while (count > 0) {
        const uint32_t at = loaded % input->row_bytes;
        const uint32_t missing = input->row_bytes - at;
        const uint32_t now = count < missing ? count : missing;
        memcpy((uint8_t *)input->data() + at, bytes, (size_t)now);
        loaded += now;
        bytes += now;
        count -= now;
        const protocol_error_t error = now == missing ? feed() : PROTOCOL_OK;
        if (error != PROTOCOL_OK) {
            return error;
        }
    }
    return PROTOCOL_OK;
}

/* Handlers read `request` (`length` bytes), write PAYLOAD, and add to answer_length what they wrote. */

static protocol_error_t hello(const uint8_t *request)
{
    uint8_t *at = PAYLOAD;
    size_t name = strlen(model->name);
    if (name > FRAME_MAX_PAYLOAD - HELLO_FIXED) {
        name = FRAME_MAX_PAYLOAD - HELLO_FIXED;
    }
    memcpy(at, request, 4);
    at[4] = PROTOCOL_VERSION;
    at[5] = port_flags();
    frame_put_u16(at + 6, FRAME_MAX_PAYLOAD);
    frame_put_u32(at + 8, port_tick_hz());
    frame_put_u32(at + 12, model->layer_count);
    frame_put_u32(at + 16, model->arena_bytes);
    at[20] = model->input_count;
    at[21] = model->output_count;
    memcpy(at + 22, model->sha256, sizeof model->sha256);
    memcpy(at + HELLO_FIXED, model->name, name);
    answer_length = (uint16_t)(answer_length + HELLO_FIXED + name);
    return PROTOCOL_OK;
}

static protocol_error_t describe_port(const uint8_t *request)
{
    const uint8_t output = request[0];
    const uint8_t index = request[1];
    if (output > 1u || index >= (output ? model->output_count : model->input_count)) {
        return PROTOCOL_BAD_INDEX;
    }
    frame_put_u32(PAYLOAD, output ? model->outputs[index].bytes : model->inputs[index].bytes);
    answer_length += 4u;
    return PROTOCOL_OK;
}

static protocol_error_t load(const uint8_t *request, uint16_t length)
{
    const uint8_t input = request[0];
    const uint32_t offset = frame_get_u32(request + 1);
    const uint16_t count = (uint16_t)(length - 5u);
    if (input >= model->input_count) {
        return PROTOCOL_BAD_INDEX;
    }
    const uint32_t bytes = model->inputs[input].bytes;
    if (offset > bytes || count > bytes - offset) {
        return PROTOCOL_OUT_OF_RANGE;
    }
    if (input == 0 && offset == 0) {
        start_loading();
    }
    if (count == 0) {
        return PROTOCOL_OK;
    }
    if (stage != LOADING || input != loading || offset != loaded) {
        return PROTOCOL_BAD_STATE;
    }
    if (model->inputs[input].row_bytes != 0) {
        const protocol_error_t error = load_rows(&model->inputs[input], request + 5, count);
        if (error != PROTOCOL_OK) {
            stage = IDLE;
            return error;
        }
    } else {
        memcpy((uint8_t *)model->inputs[input].data() + offset, request + 5, count);
        loaded += count;
    }
    settle_loading();
    return PROTOCOL_OK;
}

static protocol_error_t invoke(void)
{
    if (stage != LOADED) {
        return PROTOCOL_BAD_STATE;
    }
    forget_run();
    stage = IDLE;
    stack_paint();
    port_mark(1);
    port_ticks_start();
    model->invoke();
    const uint32_t ticks = ticks_together(fed_ticks, port_ticks());
    port_mark(0);
    stack_mark = stack_used();
    stack_mark = stack_mark > fed_stack ? stack_mark : fed_stack;
    if (stack_overflowed()) {
        return PROTOCOL_STACK_OVERFLOW;
    }
    stage = DONE;
    frame_put_u32(PAYLOAD, ticks);
    answer_length += 4u;
    return PROTOCOL_OK;
}

static protocol_error_t run_layer(const uint8_t *request)
{
    const uint32_t layer = frame_get_u32(request);
    if (layer >= model->layer_count) {
        return PROTOCOL_BAD_INDEX;
    }
    if (!(stage == LOADED && layer == 0) && !(stage == RUNNING && layer == layers_run)) {
        return PROTOCOL_BAD_STATE;
    }
    port_ticks_start();
    model->run_layer(layer);
    /* The first layer of a model that is fed has run already. */
    const uint32_t ticks = ticks_together(layer == 0 ? fed_ticks : 0u, port_ticks());
    layers_run = layer + 1u;
    layer_data = model->layer_output(layer, &layer_bytes);
    stage = layers_run == model->layer_count ? DONE : RUNNING;
    frame_put_u32(PAYLOAD, frame_crc32(0, layer_data, layer_bytes));
    frame_put_u32(PAYLOAD + 4, ticks);
    frame_put_u32(PAYLOAD + 8, layer_bytes);
    answer_length += 12u;
    return PROTOCOL_OK;
}

static protocol_error_t copy(const uint8_t *data, uint32_t bytes, const uint8_t *range)
{
    const uint32_t offset = frame_get_u32(range);
    const uint16_t count = frame_get_u16(range + 4);
    if (offset > bytes || count > bytes - offset || count > FRAME_MAX_PAYLOAD) {
        return PROTOCOL_OUT_OF_RANGE;
    }
    if (count != 0) {
        memcpy(PAYLOAD, data + offset, count);
    }
    answer_length = (uint16_t)(answer_length + count);
    return PROTOCOL_OK;
}

static protocol_error_t read_output(const uint8_t *request)
{
    const uint8_t output = request[0];
    if (output >= model->output_count) {
        return PROTOCOL_BAD_INDEX;
    }
    if (stage != DONE) {
        return PROTOCOL_BAD_STATE;
    }
    return copy(model->outputs[output].data(), model->outputs[output].bytes, request + 1);
}

static protocol_error_t read_layer(const uint8_t *request)
{
    if (layer_data == NULL) {
        return PROTOCOL_BAD_STATE;
    }
    return copy(layer_data, layer_bytes, request);
}

static protocol_error_t reset(void)
{
    if (model->reset != NULL) {
        model->reset();
    }
    start_loading();
    return PROTOCOL_OK;
}

/* A model without state has a state of no bytes. */
static uint8_t *find_state(uint32_t *bytes)
{
    *bytes = 0;
    return model->state != NULL ? model->state(bytes) : NULL;
}

static protocol_error_t read_state(const uint8_t *request)
{
    uint32_t bytes;
    const uint8_t *state = find_state(&bytes);
    return copy(state, bytes, request);
}

static protocol_error_t write_state(const uint8_t *request, uint16_t length)
{
    uint32_t bytes;
    uint8_t *state = find_state(&bytes);
    const uint32_t offset = frame_get_u32(request);
    const uint16_t count = (uint16_t)(length - 4u);
    if (offset > bytes || count > bytes - offset) {
        return PROTOCOL_OUT_OF_RANGE;
    }
    if (count != 0) {
        memcpy(state + offset, request + 4, count);
    }
    start_loading();
    return PROTOCOL_OK;
}

static protocol_error_t select_model(const uint8_t *request, uint16_t length)
{
    for (uint8_t i = 0; i < model_count; i++) {
        if (strlen(models[i]->name) == length && memcmp(models[i]->name, request, length) == 0) {
            model = models[i];
            start_loading();
            return PROTOCOL_OK;
        }
    }
    return PROTOCOL_BAD_INDEX;
}

/* Samples come at any address: they are fed in aligned pieces. */
static protocol_error_t listen(const uint8_t *request, uint16_t length)
{
    const uint32_t all = length / 2u;
    uint32_t taken = 0;
    int due = 0;
    if (model->listen == NULL) {
        return PROTOCOL_UNKNOWN_REQUEST;
    }
    forget_run();
    stage = IDLE;
    stack_paint();
    port_ticks_start();
    while (taken < all && !due) {
        int16_t piece[LISTEN_PIECE];
        const int16_t *samples = piece;
        const uint32_t given = all - taken < LISTEN_PIECE ? all - taken : LISTEN_PIECE;
        uint32_t left = given;
        memcpy(piece, request + 2u * taken, (size_t)(2u * given));
        due = model->listen(&samples, &left);
        taken += given - left;
    }
    frame_put_u32(PAYLOAD + 4, port_ticks());
    stack_mark = stack_used();
    if (stack_overflowed()) {
        return PROTOCOL_STACK_OVERFLOW;
    }
    stage = due ? DONE : IDLE;
    frame_put_u32(PAYLOAD, taken);
    PAYLOAD[8] = (uint8_t)(due != 0);
    PAYLOAD[9] = (uint8_t)(due && model->detect != NULL ? model->detect() : -1);
    answer_length += 10u;
    return PROTOCOL_OK;
}

static protocol_error_t report_stack(void)
{
    frame_put_u32(PAYLOAD, stack_mark);
    answer_length += 4u;
    return PROTOCOL_OK;
}

static protocol_error_t execute(uint8_t type, const uint8_t *request, uint16_t length)
{
    static const struct {
        uint8_t type;
        uint8_t length;
    } lengths[] = {
        {PROTOCOL_HELLO, 4}, {PROTOCOL_PORT, 2},      {PROTOCOL_INVOKE, 0}, {PROTOCOL_READ, 7}, {PROTOCOL_RUN_LAYER, 4},
        {PROTOCOL_READ_LAYER, 6}, {PROTOCOL_RESET, 0}, {PROTOCOL_STACK, 0}, {PROTOCOL_READ_STATE, 6},
    };
    for (uint8_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        if (lengths[i].type == type && lengths[i].length != length) {
            return PROTOCOL_BAD_LENGTH;
        }
    }
    switch (type) {
    case PROTOCOL_HELLO:
        return hello(request);
    case PROTOCOL_PORT:
        return describe_port(request);
    case PROTOCOL_LOAD:
        return length < 5u ? PROTOCOL_BAD_LENGTH : load(request, length);
    case PROTOCOL_INVOKE:
        return invoke();
    case PROTOCOL_READ:
        return read_output(request);
    case PROTOCOL_RUN_LAYER:
        return run_layer(request);
    case PROTOCOL_READ_LAYER:
        return read_layer(request);
    case PROTOCOL_RESET:
        return reset();
    case PROTOCOL_STACK:
        return report_stack();
    case PROTOCOL_READ_STATE:
        return read_state(request);
    case PROTOCOL_WRITE_STATE:
        return length < 4u ? PROTOCOL_BAD_LENGTH : write_state(request, length);
    case PROTOCOL_SELECT:
        return select_model(request, length);
    case PROTOCOL_LISTEN:
        return length % 2u ? PROTOCOL_BAD_LENGTH : listen(request, length);
    default:
        return PROTOCOL_UNKNOWN_REQUEST;
    }
}

static void send_nak(void)
{
    uint8_t nak[FRAME_HEADER + FRAME_CRC] = {PROTOCOL_NAK, 0};
    frame_send(nak, FRAME_HEADER, port_putc);
}

static void handle(const uint8_t *frame, uint16_t length, uint32_t crc)
{
    const uint8_t type = frame[0];
    /* The CRC covers type, sequence number and payload: equal means the same request again. */
    if (answer_length == 0 || frame[1] != answer[1] || crc != answered_crc) {
        answer[0] = (uint8_t)(type | PROTOCOL_ANSWER);
        answer[1] = frame[1];
        answer_length = FRAME_HEADER;
        const protocol_error_t error = execute(type, frame + FRAME_HEADER, (uint16_t)(length - FRAME_HEADER));
        if (error != PROTOCOL_OK) {
            answer[0] = PROTOCOL_ERROR;
            PAYLOAD[0] = type;
            PAYLOAD[1] = (uint8_t)error;
            answer_length = FRAME_HEADER + 2u;
        }
        answered_crc = crc;
    }
    frame_send(answer, answer_length, port_putc);
}

void protocol_init(const model_t *const *served, uint8_t count)
{
    models = served;
    model_count = count;
    for (uint8_t i = 0; i < count; i++) {
        if (models[i]->prepare != NULL) {
            models[i]->prepare();
        }
    }
    model = models[0];
    answer_length = 0;
    stack_mark = STACK_UNKNOWN;
    frame_receiver_init(&receiver);
    start_loading();
}

void protocol_receive(uint8_t byte)
{
    switch (frame_receive(&receiver, byte)) {
    case FRAME_READY:
        handle(receiver.bytes, receiver.length, receiver.crc);
        break;
    case FRAME_BROKEN:
        send_nak();
        break;
    case FRAME_PENDING:
        break;
    }
}

void protocol_fault(const protocol_fault_t *fault)
{
    frame_receiver_init(&receiver);
    for (;;) {
        answer[0] = PROTOCOL_FAULT;
        answer[1] = 0;
        frame_put_u32(PAYLOAD, fault->number);
        frame_put_u32(PAYLOAD + 4, fault->pc);
        frame_put_u32(PAYLOAD + 8, fault->status);
        frame_put_u32(PAYLOAD + 12, fault->address);
        frame_send(answer, FRAME_HEADER + 16u, port_putc);
        for (;;) {
            const int byte = port_getc();
            if (byte < 0) {
                port_idle();
            } else if (frame_receive(&receiver, (uint8_t)byte) != FRAME_PENDING) {
                break;
            }
        }
    }
}
