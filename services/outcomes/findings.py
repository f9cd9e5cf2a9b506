"""What `data_quality` finds, in words: one home for the names of its rules."""

from collections.abc import Mapping

from schemas.refusals import WARNING_CODES

FINDINGS: Mapping[str, str] = {
    "version_conflict": "a version of this record arrived with different contents; a higher version settles it (R4.4)",
    "record_moved": "this record changed its patient or its event type: retract it and enter it anew",
    "second_enrolment": "an earlier enrolment of this patient counts",
    "no_enrolment": "events without an enrolment: sex and age are unknown",
    "cdai_imputed": "the CDAI rests on a haematocrit or weight carried forward from an earlier record (R1.8)",
    "treatment_interrupted": "the index drug was interrupted; it is no intercurrent event (R4.7)",
    **WARNING_CODES,
}
"""Every `rule` of `data_quality`, and what its `detail` begins with."""

TABLE = "CREATE OR REPLACE TABLE findings (rule VARCHAR, words VARCHAR)"
