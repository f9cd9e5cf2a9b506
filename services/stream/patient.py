"""One patient's rows of any relation, derived from that patient's events alone."""

from services.stream.definition import StoreDefinition

SCOPE = "SELECT * FROM events WHERE patient_key = md5_number_lower($patient)"
CLOCK = "SELECT $today::DATE AS today"


def patient_sql(definition: StoreDefinition, name: str) -> str:
    """The SELECT of relation `name` for the patient `$patient` as of `$today`.

    The same definition as the table or view of that name; but where a view reads every event of the store
    first and finds the patient afterwards, this costs the same in a small store and a large one.
    """
    relation = next(r for r in (*definition.steps, *definition.views) if r.name == name)
    return definition._chain(relation, SCOPE, set(), today=CLOCK)
