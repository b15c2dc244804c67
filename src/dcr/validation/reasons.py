"""The names of everything that can be wrong, in words for the person who reads the page.

A reason has a policy in the recipe: ``accept`` (say nothing), ``warn`` (accept and count),
``reject`` (leave the sample out), ``fail`` (stop the run, after all findings have been written).
"""

SHARD_REASONS = {
    "shard_empty": "the tar holds no sample",
    "shard_all_failed": (
        "the tar holds no sample, and img2dataset's stats say that none of its downloads succeeded"
    ),
    "shard_too_costly": "reading it took too much time or memory for its size, and it was given up",
    "tar_unreadable": "the file is no tar: nothing in it could be read",
    "tar_damaged": "the tar is cut short or damaged: the bytes behind the damage could not be read",
    "members_apart": (
        "the members of a sample do not stand together, and WebDataset takes each piece for a"
        " sample"
    ),
    "shard_interrupted": (
        "the shard has img2dataset's table but no stats file: its download was interrupted"
    ),
}

REASONS = {
    "tar_truncated": "the tar ends within this sample",
    "unsafe_member": (
        "a link, device, sparse file, absolute name or .. path stands in the sample's place"
    ),
    "dotted_name": (
        "the image's name has a further dot, and WebDataset's key ends at the first: rename the"
        " files"
    ),
    "dotted_image_left_out": (
        "images with a further dot in their names, as a.b.jpg beside a.jpg, were passed over"
    ),
    "member_too_large": "a member is larger than any image or caption should be",
    "metadata_invalid": "the json is not a JSON object, or one of empty lists made to fill memory",
    "image_missing": "the sample has no image",
    "unsupported_format": "the image is of a format that is not decoded",
    "too_many_pixels": "the header declares more pixels than the recipe's cap (decompression bomb)",
    "image_too_costly": (
        "the file has more segments, chunks or scans than any picture needs: made to hold a"
        " reader up"
    ),
    "image_truncated": "the image file ends before its last pixel",
    "image_corrupt": "the image cannot be decoded",
    "animated": "the image has several frames",
    "rotated": (
        "the image is turned or mirrored, as its EXIF orientation says: other tools may see it as"
        " it is stored"
    ),
    "transparent": (
        "the image is partly transparent and is laid on white: other tools show what lies"
        " underneath"
    ),
    "high_bit_depth": (
        "the image has more than 8 bits a channel and is scaled to 8: other tools may clip it to"
        " white"
    ),
    "image_too_small": "the shorter side is below the recipe's size",
    "extreme_aspect_ratio": "one side is many times the other",
    "blank_image": "all pixels have nearly the same luminance",
    "greyscale": "the picture shows no colour, in a grey file or in one with three channels",
    "dark_image": "nearly all of the image is dark",
    "overexposed_image": "nearly all of the image is close to white",
    "low_entropy": "the image is of few levels of luminance, as drawings and screenshots are",
    "blurred_image": "no edge is sharp at the size that an encoder sees",
    "flat_border": "bars or margins that show nothing take much of the image",
    "text_border": "bars or margins at the edges bear writing, as of an agency or a meme",
    "size_mismatch": "width or height differ from what the json declares",
    "sha256_mismatch": "the image bytes differ from the sha256 that the json declares",
    "caption_missing": "there is no caption",
    "caption_empty": "the caption is empty",
    "caption_not_utf8": "the caption is not UTF-8",
    "caption_not_text": "the json's caption is neither a text nor a list of texts",
    "caption_is_list": "the caption is a list as Python prints it, of which the json holds none",
    "caption_is_file_or_url": "the caption is a file name or a URL",
    "caption_truncated": (
        "the caption has more tokens than the text tower reads: its end is cut off"
    ),
    "key_collision": "an earlier sample of the shard has this key",
    "key_collision_across_shards": "a sample of an earlier shard has this key",
    "evaluation_image": (
        "the image bytes are those of an image of an evaluation set: scores on it would be"
        " worthless"
    ),
    "near_evaluation_image": (
        "the image looks nearly like one of an evaluation set (perceptual hash)"
    ),
    "exact_duplicate": "the same image bytes occur before; the first sample with them is kept",
    "near_duplicate": "the image looks nearly like an earlier one that is kept (perceptual hash)",
    "caption_mismatch": (
        "image and caption tell of different things (cosine of the backbone's features)"
    ),
    "near_duplicate_features": (
        "the backbone finds the image nearly equal to another one that is kept (cosine of features)"
    ),
    "near_evaluation_features": (
        "the backbone finds the image nearly equal to one of an evaluation set (cosine of features)"
    ),
    "outlier": "the backbone finds no other sample near the image (distance of features)",
    **SHARD_REASONS,
}
