/* MLPerf Tiny's device protocol: the host sends commands of words between spaces, each ended by '%'; the answer is lines
 * that end in CR LF, the last one m-ready. Whatever is wrong is said in a line e-[...].
 *
 *   name               m-name-dut-[...]
 *   profile            m-profile-[...], m-model-[kws01]
 *   timestamp          m-lap-us-T
 *   db load N          m-[Expecting N bytes]
 *   db HEX...          m-load-done when all have come
 *   db print [N [OFFSET]]
 *                      m-buffer-00-01-..., eight bytes in a line
 *   infer N [W=10]     m-warmup-start-W, m-warmup-done, m-infer-start-N, m-lap-us-T, m-lap-us-T, m-infer-done,
 *                      m-results-[...]
 *   results            m-results-[0.123,...], of the last inference
 *   help
 *
 * T counts the microseconds of all inferences since the start, each by itself, without loading its input; on a board
 * whose ticks are not time, an emulated one, it counts those ticks. */
#ifndef TINYGEN_MLPERF_COMMANDS_H
#define TINYGEN_MLPERF_COMMANDS_H

#include <stdint.h>

/* Bytes of the longest command. */
#define COMMANDS_LONGEST 255u

/* Greets the host. */
void commands_init(void);

/* One received byte. At the end of a command, answers it. */
void commands_receive(uint8_t byte);

#endif
