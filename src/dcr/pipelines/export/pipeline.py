"""Pipeline `export`: the method's encoder, with a card that says what was measured."""

from kedro.pipeline import Node, Pipeline

from .nodes import add_data_card, compose_card, export_encoder, hand_on_encoder


def create_pipeline() -> Pipeline:
    """Return the pipeline; it reads what training and evaluation left."""
    return Pipeline(
        [
            Node(
                compose_card,
                inputs=[
                    "params:training",
                    "params:recipe",
                    "training_record",
                    "previous_models",
                    "validation_summary",
                    "scores",
                    "intervals",
                    "comparisons",
                    "this_seed",
                    "params:alignment",
                    "alignment_record",
                    "evaluation_sets",
                    "params:export",
                    "data_card_record",
                ],
                outputs="card",
                name="compose_card",
            ),
            Node(
                export_encoder,
                inputs=[
                    *(
                        "params:export",
                        "params:training",
                        "training_record",
                        "card",
                        "backbone",
                        "adapters",
                    ),
                    *("params:alignment", "alignments", "alignment_record"),
                ],
                outputs="encoder_files",
                name="export_encoder",
            ),
            Node(
                add_data_card,
                inputs=["encoder_files", "training_record", "data_card", "data_card_record"],
                outputs="encoder",
                name="add_data_card",
            ),
            Node(
                hand_on_encoder,
                inputs=["params:training.monitoring.report_to", "params:recipe.name", "encoder"],
                outputs=None,
                name="hand_on_encoder",
            ),
        ]
    )
