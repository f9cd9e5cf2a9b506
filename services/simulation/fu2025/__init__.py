"""The synthetic study cohort of `examples/fu2025`.

No patient is real: the counts come from the published percentages, everything else is drawn.
"""

from typing import Final

from services.simulation.fu2025.complaints import assign_complaints
from services.simulation.fu2025.course import write_course
from services.simulation.fu2025.plan import draw_plan
from services.simulation.records import RawEvent

SEED: Final = 2025


def generate(seed: int = SEED) -> list[RawEvent]:
    """Every record of the 94 patients in its final version, patient by patient.

    Other seeds give other patients with the same counts.
    """
    plan = draw_plan(seed)
    complaints = assign_complaints(plan, seed)
    return [
        event for patient in plan for event in write_course(patient, complaints.get(patient.number, ()), seed)
    ]
