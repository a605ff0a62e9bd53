/* What is benchmarked: a model, between raw data and results. src/mlperf_task.c, written for one model, has it. */
#ifndef TINYGEN_MLPERF_TASK_H
#define TINYGEN_MLPERF_TASK_H

#include <stdint.h>

typedef struct {
    const char *model;       /* as MLPerf Tiny calls it: "kws01" */
    const char *device;      /* who answers to `name` */
    uint8_t *raw;            /* where the host's data goes, and how many bytes it has to be */
    uint32_t raw_bytes;
    const float *results;    /* of the last evaluate() */
    uint32_t result_count;
    void (*prepare)(void);   /* once, before all else */
    void (*load)(void);      /* raw data to the model's input, which invoke() consumes */
    void (*invoke)(void);
    void (*evaluate)(void);  /* the model's output to results */
} task_t;

extern const task_t mlperf_task;

#endif
