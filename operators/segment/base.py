"""What every segmenter reads and writes."""

READS = ("given_mask_bytes", "width_px", "height_px", "landmarks468_px", "crop_from_image", "crop", "crop_valid")
WRITES = (
    *("occluder", "occluder_iou", "occluder_stability"),
    *("visible_face", "visible_face_iou", "visible_face_stability"),
)
