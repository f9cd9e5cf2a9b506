"""One patient's rows of any relation, derived from that patient's events alone."""

from services.stream.definition import StoreDefinition

SCOPE = "SELECT * FROM events WHERE patient_key = md5_number_lower($patient)"
KNOWN_SCOPE = f"{SCOPE} AND ($known_at IS NULL OR recorded_at < $known_at::DATE + 1)"
CLOCK = "SELECT $as_of::DATE AS today"


def patient_sql(definition: StoreDefinition, name: str) -> str:
    """The SELECT of relation `name` for the patient `$patient` as of `$as_of`, known at `$known_at` (null: all).

    The same definition as the table or view of that name; but where a view reads every event of the store
    first and finds the patient afterwards, this costs the same in a small store and a large one.
    """
    return definition.derived_sql(name, KNOWN_SCOPE, CLOCK)
