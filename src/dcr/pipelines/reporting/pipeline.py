"""Pipeline `reporting`: comparisons, charts and pictures, then the page."""

from kedro.pipeline import Node, Pipeline

from .figure_nodes import (
    draw_reconstructions,
    hand_on_report,
    plot_scores,
    plot_training,
    show_flipped_pairs,
    show_neighbours,
)
from .nodes import (
    check_results,
    describe_models,
    gather_methods,
    tell_selection,
    write_comparison_page,
    write_page,
)


def create_pipeline() -> Pipeline:
    """Return the pipeline; only `draw_reconstructions` runs a model.

    `check_results` comes before everything: what the others read of it, they read from its outputs.
    """
    return Pipeline(
        [
            Node(
                check_results,
                inputs={
                    "training": "params:training",
                    "evaluation": "params:evaluation",
                    "alignment": "params:alignment",
                    **{
                        name: name
                        for name in (
                            *(
                                "backbone",
                                "adapters",
                                "projector",
                                "training_record",
                                "conditions",
                                "losses",
                            ),
                            *("alignments", "alignment_record"),
                            *("validation_summary", "base_models", "synthesis_pictures"),
                            *("scores", "intervals", "comparisons", "outcomes", "measurements"),
                            *("this_seed", "seed_scores"),
                        )
                    },
                },
                outputs=["trained_method", "checked_training", "checked_scores", "product"],
                name="check_results",
            ),
            Node(
                gather_methods,
                inputs=[
                    "params:reporting",
                    "params:evaluation",
                    "trained_method",
                    "checked_training",
                    "checked_scores",
                    "measurements",
                    "comparisons",
                ],
                outputs="methods",
                name="gather_methods",
            ),
            Node(
                plot_scores,
                inputs=["params:reporting", "methods"],
                outputs=["radar_plot", "p_against_d_plot", "sets_plot"],
                name="plot_scores",
            ),
            Node(
                plot_training,
                inputs=["params:reporting", "params:training", "checked_training", "losses"],
                outputs=["loss_plot", "contrast_plot"],
                name="plot_training",
            ),
            Node(
                show_flipped_pairs,
                inputs=[
                    "params:reporting",
                    "params:evaluation",
                    "trained_method",
                    "mmvp_vlm",
                    "outcomes",
                ],
                outputs=["flipped_pairs", "flips_by_encoder"],
                name="show_flipped_pairs",
            ),
            Node(
                show_neighbours,
                inputs=[
                    "params:reporting",
                    "params:evaluation",
                    "trained_method",
                    "classification",
                    "backbone",
                    "product",
                    "evaluation_cache",
                ],
                outputs="nearest_neighbours",
                name="show_neighbours",
            ),
            Node(
                write_comparison_page,
                inputs={
                    "reporting": "params:reporting",
                    "evaluation": "params:evaluation",
                    "recipe": "params:recipe.name",
                    "radar": "radar_plot",
                    "p_against_d": "p_against_d_plot",
                    "set_bars": "sets_plot",
                    "published_tables": "published_tables",
                    "this_seed": "this_seed",
                    "seed_scores": "seed_scores",
                    "methods": "methods",
                    "flips": "flips_by_encoder",
                    "neighbours": "nearest_neighbours",
                    "failures": "evaluation_failures",
                    "sets": "evaluation_sets",
                },
                outputs="comparison_page",
                name="write_comparison_page",
            ),
            Node(
                draw_reconstructions,
                inputs=[
                    "params:reporting",
                    "params:evaluation",
                    "trained_method",
                    "mmvp_vlm",
                    "backbone",
                    "product",
                    "diffusion",
                    "projector",
                ],
                outputs="reconstructions",
                name="draw_reconstructions",
            ),
            Node(
                describe_models,
                inputs=["backbone", "product", "diffusion", "projector"],
                outputs="model_facts",
                name="describe_models",
            ),
            Node(
                tell_selection,
                inputs=[
                    "params:training",
                    "params:alignment",
                    "kept_selection",
                    "checked_training",
                ],
                outputs="selection_in_words",
                name="tell_selection",
            ),
            Node(
                write_page,
                inputs={
                    "reporting": "params:reporting",
                    "evaluation": "params:evaluation",
                    "recipe": "params:recipe.name",
                    "parameters": "parameters",
                    "methods": "methods",
                    "radar": "radar_plot",
                    "p_against_d": "p_against_d_plot",
                    "loss": "loss_plot",
                    "contrast": "contrast_plot",
                    "validation": "validation_summary",
                    "sets": "evaluation_sets",
                    "base_models": "base_models",
                    "conditions": "conditions",
                    "training": "checked_training",
                    "models": "model_facts",
                    "flips": "flipped_pairs",
                    "reconstructions": "reconstructions",
                    "synthesis": "synthesis_pictures",
                    "selection": "selection_in_words",
                },
                outputs="report",
                name="write_page",
            ),
            Node(
                hand_on_report,
                inputs={
                    "report_to": "params:training.monitoring.report_to",
                    "recipe": "params:recipe.name",
                    "report": "report",
                    "comparison": "comparison_page",
                    "radar": "radar_plot",
                    "p_against_d": "p_against_d_plot",
                    "sets": "sets_plot",
                    "losses": "loss_plot",
                    "contrast": "contrast_plot",
                },
                outputs=None,
                name="hand_on_report",
            ),
        ]
    )
