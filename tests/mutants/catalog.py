"""All mutants."""

from __future__ import annotations

from tests.mutants.mutant import Mutant
from tests.mutants.of_meetings import MEETINGS
from tests.mutants.of_scripts import CLAIMS, IMPORTS, RECORDS
from tests.mutants.of_workers import WORKERS

MUTANTS: list[Mutant] = [*CLAIMS, *RECORDS, *IMPORTS, *MEETINGS, *WORKERS]
