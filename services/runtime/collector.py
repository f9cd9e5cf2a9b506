"""Python's cycle collector, told what kind of program this is."""

import gc


def relax_collector() -> None:
    """Collect less often, and never look again at what lives since the start.

    A batch of events makes hundreds of thousands of objects and hardly a cycle: with the defaults a quarter
    of ingest's time goes into looking for some. Call once everything is imported.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
