"""Mutations of output files, and of reading and drawing images."""

from mutants_entry import Mutation

ROWS = (
    Mutation(
        "return done & self._inputs.is_marked()",
        "return done | self._inputs.is_marked()",
        "rows of a database whose picture or map is missing are not made again",
        ("outputs/test_database.py",),
    ),
    Mutation(
        "max(int(origins.index[-1]) + 1, maps_of_run(shards[0].description))",
        "int(origins.index[-1]) + 1",
        "shards at the end of a run may be missing from a merged database",
        ("outputs/test_merge.py",),
    ),
    Mutation(
        "largest = float(np.abs(relevance).max(initial=0))",
        "largest = float(relevance.max(initial=0))",
        "negative relevance that float16 cannot hold is written as infinite",
        ("outputs/test_outputs.py", "outputs/test_database.py"),
    ),
    Mutation(
        '"input_width": width,',
        '"input_width": height,',
        "the width of pictures is wrong in ViRelAy's project",
        ("outputs/test_database.py", "outputs/test_merge.py"),
    ),
    Mutation(
        'if counts[text] > 1 or not text or re.match("[0-9]+-", text) else text',
        "if counts[text] > 1 or not text else text",
        "two layers can have the same name in file names",
        ("outputs/test_outputs.py", "batch/test_dump_layers.py"),
    ),
    Mutation(
        "int(min(max(0.0, -share), 1.0) * 255.0 + 0.5)",
        "int(max(0.0, -share) * 255.0 + 0.5)",
        "negative relevance beyond the largest positive one has a wrong colour",
        ("rendering/test_render.py",),
    ),
    Mutation(
        "(samples.astype(np.uint32) + _STEP // 2) // _STEP",
        "samples.astype(np.uint32) // _STEP",
        "the picture of the input is rounded down",
        ("imaging/test_preprocess.py",),
    ),
    Mutation(
        "if orientation in (2, 3, 7, 8):",
        "if orientation in (2, 3, 7):",
        "TIFF files of one orientation are mirrored",
        ("imaging/test_decode.py",),
    ),
    Mutation(
        "for path in (*paths, *sorted(folders, key=len, reverse=True)):",
        "for path in paths:",
        "names of files that are done in a journal are lost in a power cut",
        ("batch/test_journal.py",),
    ),
    Mutation(
        "return max(1, math.floor(height * factor + 0.5)), max(",
        "return math.floor(height * factor + 0.5), max(",
        "a picture that is far wider than high loses its last row",
        ("imaging/test_resize.py",),
    ),
    Mutation(
        "at = np.clip(centres * kept - 0.5, 0, kept - 1)",
        "at = np.clip(centres * kept, 0, kept - 1)",
        "a map is half a pixel off its position in the photo",
        ("rendering/test_picture.py",),
    ),
    Mutation(
        "begins_at_zero = is_positive and not colour_map.has_middle",
        "begins_at_zero = is_positive",
        "positive relevance begins at the wrong position of a colour map with a middle",
        ("rendering/test_picture.py",),
    ),
    Mutation(
        "if end < start:",
        "if end <= start:",
        "a colour map cannot have hard edges",
        ("rendering/test_colour_maps.py",),
    ),
)
