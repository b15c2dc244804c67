"""Pipeline `evaluation`: every encoder on every benchmark set, then the tables that others read."""

from kedro.pipeline import Node, Pipeline

from .nodes import embed_sets, evaluate_encoders, gather_encoders, gather_sets
from .table_nodes import (
    compare_encoders,
    record_results,
    record_seed,
    record_sets,
    tabulate_measurements,
    tabulate_outcomes,
    tell_failures,
    write_for_others,
)

_GATHER = (
    Node(
        gather_encoders,
        inputs=[
            *(
                "params:training",
                "training_record",
                "backbone",
                "adapters",
                "more_encoders",
            ),
            *("params:alignment", "alignments", "alignment_record"),
        ],
        outputs=["encoders", "encoder_hashes"],
        name="gather_encoders",
    ),
    Node(
        gather_sets,
        inputs=["params:evaluation", "mmvp_vlm", "classification", "retrieval", "more_sets"],
        outputs="benchmark_sets",
        name="gather_sets",
    ),
)
_WHAT = ["params:evaluation", "encoders", "benchmark_sets", "evaluation_cache"]


def create_pipeline() -> Pipeline:
    """Return the pipeline.

    All that could be evaluated is written before `tell_failures` may end the run. `record_seed`
    writes the record of the tables after them, see `dcr.training.provenance`.
    """
    return Pipeline(
        [
            *_GATHER,
            Node(
                evaluate_encoders,
                inputs=_WHAT,
                outputs=["evaluations", "evaluation_failures"],
                name="evaluate_encoders",
            ),
            Node(
                record_results,
                inputs=["params:evaluation", "evaluations"],
                outputs=["scores", "intervals", "eval_results"],
                name="record_results",
            ),
            Node(
                record_sets,
                inputs=["benchmark_sets", "evaluations"],
                outputs="evaluation_sets",
                name="record_sets",
            ),
            Node(
                write_for_others,
                inputs=["params:evaluation", "params:training.method", "scores"],
                outputs="diva_results",
                name="write_for_others",
            ),
            Node(
                tabulate_outcomes,
                inputs="evaluations",
                outputs=["outcomes", "mmvp_answers"],
                name="tabulate_outcomes",
            ),
            Node(
                tabulate_measurements,
                inputs="evaluations",
                outputs="measurements",
                name="tabulate_measurements",
            ),
            Node(
                compare_encoders,
                inputs=["params:evaluation", "training_record", "measurements"],
                outputs="comparisons",
                name="compare_encoders",
            ),
            Node(
                record_seed,
                inputs=[
                    "params:evaluation",
                    "params:alignment",
                    "training_record",
                    "encoder_hashes",
                    "scores",
                    "intervals",
                    "comparisons",
                    "outcomes",
                    "measurements",
                ],
                outputs=["this_seed", "seed_scores"],
                name="record_seed",
            ),
            Node(
                tell_failures,
                inputs=[
                    "evaluation_failures",
                    "evaluation_sets",
                    "scores",
                    "eval_results",
                    "comparisons",
                    "this_seed",
                ],
                outputs=None,
                name="tell_failures",
            ),
        ]
    )


def create_embedding_pipeline() -> Pipeline:
    """Return pipeline `embedding`, which fills the cache that `evaluation` reads.

    Any number of processes may run it.
    """
    return Pipeline([*_GATHER, Node(embed_sets, inputs=_WHAT, outputs=None, name="embed_sets")])
