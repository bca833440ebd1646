"""What can be wrong with a data set, ordered by harm: silently wrong first, merely odd last."""

from typing import Literal, NamedTuple

Level = Literal["error", "warning"]


class Rule(NamedTuple):
    """One kind of problem.

    Attributes:
        level: "error" where a model would learn or be scored by something wrong, or where reading
            must stop; "warning" where a person should look.
        title: one line that says what such data does.
    """

    level: Level
    title: str


RULES: dict[str, Rule] = {
    # Classes: what every later number rests on.
    "classes_missing": Rule("error", "no classes, or no file that names them"),
    "class_duplicate": Rule("error", "a class name or id stands twice"),
    "class_missing": Rule("error", "a split lacks a class that another has"),
    "class_unknown": Rule("error", "a class that nothing names"),
    "class_count": Rule("error", "the config counts other classes than the data"),
    "class_clash": Rule("error", "a class is both countable and stuff"),
    # Label maps.
    "label_unexplained": Rule("error", "values or colours in a label map that no class explains"),
    "label_colours": Rule("error", "a label map holds colours where numbers are expected"),
    "label_two_values": Rule("error", "a mask of 0 and 255, whose 255 would be ignored"),
    "label_lossy": Rule("error", "a label map in a lossy format, which invents values"),
    "label_kind": Rule("error", "a label map whose pixels are no whole numbers"),
    "object_class": Rule("error", "an object whose pixels have several classes, or none"),
    # Masks and boxes.
    "rle_damaged": Rule("error", "run lengths that are damaged or do not fill the image"),
    "rle_size": Rule("error", "run lengths for an image of another size"),
    "polygon_hostile": Rule("error", "coordinates that are not finite or absurdly far away"),
    "polygon_normalised": Rule(
        "error", "coordinates in fractions where pixels are meant, or the reverse"
    ),
    "polygon_outside": Rule("error", "an object of which nothing is inside its image"),
    "segmentation_invalid": Rule("error", "a segmentation that is no polygons and no run lengths"),
    "segmentation_missing": Rule("error", "some objects have a segmentation and some have none"),
    "box_invalid": Rule("error", "a box that is not four finite numbers with sizes above zero"),
    "box_xyxy": Rule("error", "boxes that hold two corners where corner and size are meant"),
    "box_outside": Rule("error", "a box of which nothing is inside its image"),
    "box_not_mask": Rule("error", "a box that is not its mask's box"),
    "mask_empty": Rule("error", "an object without a pixel"),
    "area_invalid": Rule("error", "an area that is no number of pixels"),
    "crowd_invalid": Rule("error", "a crowd mark that is neither 0 nor 1"),
    # Identity: what belongs to what.
    "size_mismatch": Rule("error", "an image, its annotation and its label map differ in size"),
    "size_turned": Rule("error", "an image and its annotation are turned against each other"),
    "image_id_duplicate": Rule("error", "two images share an id"),
    "image_listed_twice": Rule("error", "one image file is listed twice"),
    "annotation_id_duplicate": Rule("error", "two annotations share an id"),
    "annotation_copied": Rule("error", "the same object is annotated twice"),
    "image_unknown": Rule("error", "an annotation of an image that is not listed"),
    "unpaired": Rule("error", "an image without its annotation, or the reverse"),
    "name_clash": Rule("error", "two files differ only in their suffix or folder"),
    "segments_mismatch": Rule("error", "a panoptic map and its list name different segments"),
    "split_without_objects": Rule("error", "a split without any object"),
    # Between splits: scores that look better than they are.
    "leak_exact": Rule("error", "the same image in two splits"),
    "leak_group": Rule("error", "one group of images in two splits"),
    "class_untaught": Rule("error", "a class is scored that training never shows"),
    # Files.
    "file_invalid": Rule("error", "a file that cannot be read as what it should be"),
    "file_outside": Rule("error", "a name or a link that leads out of the data set's folders"),
    "image_missing": Rule("error", "an image file that does not exist"),
    "image_unreadable": Rule("error", "an image file that cannot be decoded"),
    "image_too_large": Rule("error", "an image of more pixels than declared"),
    "image_frames": Rule("error", "a film or a stack where one image is expected"),
    "image_depth": Rule("error", "pixels whose black and white are unknown"),
    "image_channels": Rule("error", "an image of other channels than the model takes"),
    "image_size_invalid": Rule("error", "a stated height or width that is none"),
    "image_shape": Rule("error", "an image so narrow that resizing leaves nothing of it"),
    # Look at these.
    "split_reused": Rule("warning", "two splits are the same files"),
    "groups_unused": Rule("warning", "a pattern for groups that finds none"),
    "leak_near": Rule("warning", "nearly the same image in two splits"),
    "image_copied": Rule("warning", "the same image under two names in one split"),
    "exif_ambiguous": Rule("warning", "an EXIF orientation that the sizes cannot confirm"),
    "exif_mixed": Rule("warning", "some images are annotated as EXIF turns them, some as stored"),
    "label_all_ignored": Rule("warning", "a label map with nothing to learn from"),
    "polygon_crossing": Rule("warning", "a polygon that crosses itself"),
    "polygon_overhang": Rule("warning", "an object that reaches far beyond its image"),
    "polygon_flat": Rule("warning", "polygons without an area, which are left out"),
    "mask_whole_image": Rule("warning", "a mask that covers its whole image"),
    "area_not_mask": Rule("warning", "an area that is not its mask's area"),
    "field_missing": Rule("warning", "a field that is measured from the masks instead"),
    "class_order": Rule("warning", "splits number their classes differently; names are followed"),
    "class_unused": Rule("warning", "a class without a single object or pixel"),
    "class_left_out": Rule("warning", "objects of classes that the specification does not choose"),
    "images_without_objects": Rule("warning", "images without objects"),
    "too_many_objects": Rule("warning", "more objects in an image than a model may return"),
    "image_dark": Rule("warning", "16-bit images that arrive nearly black"),
    "alpha_used": Rule("warning", "transparency, which is dropped"),
    "lost_in_conversion": Rule("warning", "what the target format cannot hold"),
    "image_renamed": Rule("warning", "an image that has another name in the new data set"),
    "split_needed": Rule("warning", "a split that other tools of the target format ask for"),
}
