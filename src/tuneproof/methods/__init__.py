"""The catalog of methods.

In: nothing. Out: METHODS, by name. Knows nothing of: how a method is carried out.
"""

from collections.abc import Collection

from tuneproof.methods.embeddings import EMBEDDINGS
from tuneproof.methods.endpoint import ENDPOINT
from tuneproof.methods.exported import EXPORTED
from tuneproof.methods.full import FULL
from tuneproof.methods.given import GIVEN_PREDICTIONS
from tuneproof.methods.head import HEAD
from tuneproof.methods.lexical import LEXICAL
from tuneproof.methods.lora import LORA
from tuneproof.methods.lp_ft import LP_FT
from tuneproof.methods.majority import MAJORITY
from tuneproof.methods.method import Method
from tuneproof.methods.nli import NLI
from tuneproof.methods.prompts import FEW_SHOT, ZERO_SHOT
from tuneproof.methods.qlora import QLORA
from tuneproof.methods.tuned_model import TUNED_MODEL

CATALOG = (
    MAJORITY,
    LEXICAL,
    ZERO_SHOT,
    FEW_SHOT,
    NLI,
    EMBEDDINGS,
    HEAD,
    LP_FT,
    LORA,
    QLORA,
    FULL,
    TUNED_MODEL,
    EXPORTED,
    GIVEN_PREDICTIONS,
    ENDPOINT,
)
METHODS: dict[str, Method] = {method.name: method for method in CATALOG}


def missing_baselines(names: Collection[str]) -> list[str]:
    """The baselines that are not among these names, in the order of the catalog."""
    return [name for name, method in METHODS.items() if method.kind == "baseline" and name not in names]
