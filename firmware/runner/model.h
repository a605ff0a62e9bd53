/* A generated model library, as the runner sees it. runner_model.c lists those that there are. */
#ifndef TINYGEN_RUNNER_MODEL_H
#define TINYGEN_RUNNER_MODEL_H

#include <stdint.h>

/* For memory that libraries are given: on 8-bit cores, an int32_t alone may lie anywhere. */
#if defined(__GNUC__)
#define ALIGNED_TO_WORDS __attribute__((aligned(4)))
#else
#define ALIGNED_TO_WORDS
#endif

typedef struct {
    void *(*data)(void); /* where its bytes go, or those of the row that is to be fed next */
    uint32_t bytes;
    uint32_t row_bytes; /* 0: it is there whole */
} model_input_t;

typedef struct {
    const void *(*data)(void);
    uint32_t bytes;
} model_output_t;

typedef struct {
    const char *name;
    uint8_t sha256[32]; /* of the source model file */
    uint32_t arena_bytes;
    const model_input_t *inputs;
    const model_output_t *outputs;
    uint8_t input_count;
    uint8_t output_count;
    uint32_t layer_count;
    void (*prepare)(void); /* once, before all else; NULL where there is nothing to do */
    void (*begin)(void);   /* these two are NULL for a model whose inputs are there whole */
    void (*feed)(void);    /* the row that is there */
    void (*invoke)(void);
    void (*reset)(void);             /* these two are NULL for a model without state */
    void *(*state)(uint32_t *bytes); /* what goes from one invoke to the next */
    void (*run_layer)(uint32_t layer);
    const void *(*layer_output)(uint32_t layer, uint32_t *bytes);
    int (*listen)(const int16_t **samples, uint32_t *count); /* not 0: a result is due; NULL without a front end */
    int32_t (*detect)(void); /* the word that is heard with that result, or -1; NULL without a detector */
} model_t;

extern const model_t *const runner_models[];
extern const uint8_t runner_model_count;

#endif
