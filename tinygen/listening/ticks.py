"""What a result costs from samples on, in a board's ticks."""

from __future__ import annotations

import numpy as np

from tinygen.manifest import Manifest
from tinygen.session import Session

_RESULTS = 8


def result_ticks(session: Session, content: Manifest) -> float | None:
    """Of a result behind the first one, of noise: front end and invoke, and the little that the runner adds.

    None where there were too many to count.
    """
    found = content.front_end
    assert found is not None
    samples = np.random.default_rng(0).integers(-3000, 3001, found.first + _RESULTS * found.step)
    data, taken, ticks, results = samples.astype("<i2").tobytes(), 0, 0, 0
    session.reset()
    while results <= _RESULTS:
        answer = session.listen(data[2 * taken :])
        if answer.ticks is None:
            return None
        taken += answer.samples
        ticks += answer.ticks if results else 0
        results += answer.due
    return ticks / _RESULTS
